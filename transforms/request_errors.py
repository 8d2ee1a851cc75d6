"""Reports reading errors to the client of a MONAI Label server."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .errors import RadiographError

REQUEST_KEY = "image_path"
"""Key that MONAI Label adds to the item of an inference request; items of a datalist do not have it."""

UNPROCESSABLE = 422
"""HTTP status for a well-formed request whose content cannot be processed (RFC 9110, 15.5.21)."""


@contextmanager
def answer_request(item: Mapping[Any, Any]) -> Iterator[None]:
    """Converts a `RadiographError` inside an HTTP request to a response with the error message.

    MONAI Label 0.8.5 has no exception handler: any exception in a transform becomes a bare "500 Internal Server Error",
    except Starlette's HTTPException, for which the server responds with its status and {"detail": message}. Outside a
    request, the error is raised unchanged. Starlette is not a dependency: if it is not loaded, no server is running.

    Args:
        item: input of the transform.
    """
    try:
        yield
    except RadiographError as error:
        server = sys.modules.get("starlette.exceptions")
        if server is None or REQUEST_KEY not in item:
            raise
        raise server.HTTPException(status_code=UNPROCESSABLE, detail=str(error)) from error
