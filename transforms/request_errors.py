"""Errors of reading reach the client of MONAI Label's server."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .errors import RadiographError

REQUEST_KEY = "image_path"
"""What MONAI Label adds to the item of an inference request; no datalist has it."""

UNPROCESSABLE = 422
"""HTTP status: the request is well-formed, its content can't be processed (RFC 9110, 15.5.21)."""


@contextmanager
def answer_request(item: Mapping[Any, Any]) -> Iterator[None]:
    """Turns a `RadiographError` inside an HTTP request into an answer with its message.

    MONAI Label 0.8.5 has no exception handler: whatever a transform raises becomes a bare "500 Internal Server Error",
    except Starlette's HTTPException, which the server answers with its status and {"detail": message}. Elsewhere, the
    error goes through as it is. Starlette is not a dependency: where it isn't loaded, no server runs.

    Args:
        item: what the transform was given.
    """
    try:
        yield
    except RadiographError as error:
        server = sys.modules.get("starlette.exceptions")
        if server is None or REQUEST_KEY not in item:
            raise
        raise server.HTTPException(status_code=UNPROCESSABLE, detail=str(error)) from error
