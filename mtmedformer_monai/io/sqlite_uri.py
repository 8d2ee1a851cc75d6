"""Converts between SQLite file paths, with any characters, and URIs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote


def sqlite_uri(path: str | Path) -> str:
    """Returns the URI with which SQLAlchemy, and therefore MLflow, opens exactly this file.

    SQLAlchemy ends the path at a `?`, and since version 2.1 decodes percent-encoding such as `%41`. Paths that it would
    misread are percent-encoded; all others are left unchanged, so that the URI remains readable.

    Args:
        path: path of the database file; absolute, or relative to the working directory.

    Returns:
        `sqlite:////absolute/path`.

    Raises:
        ValueError: SQLAlchemy is older than 2.1 and the path contains a `?`, which it cannot represent.
    """
    from sqlalchemy.engine import make_url

    text = Path(path).resolve().as_posix()
    for uri in (f"sqlite:///{text}", f"sqlite:///{quote(text)}"):
        if make_url(uri).database == text:
            return uri
    raise ValueError(f"path expects no '?' with SQLAlchemy before 2.1, got {text!r}; update sqlalchemy or rename it.")


def sqlite_file(uri: str) -> Path | None:
    """Returns the file that a URI refers to; None for servers, other databases and in-memory databases."""
    from sqlalchemy.engine import make_url

    if not uri.startswith("sqlite:///"):
        return None
    database = make_url(uri).database
    return Path(database) if database and database != ":memory:" else None
