"""The URI of an SQLite file, whatever its path holds."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote


def sqlite_uri(path: str | Path) -> str:
    """URI by which SQLAlchemy, and so MLflow, opens exactly this file.

    SQLAlchemy ends the path at a `?`, and since version 2.1 decodes `%41`. A path that it would read otherwise is
    percent-encoded; all others stay as they are, so that the URI can be typed.

    Args:
        path: of the database file; relative to the working folder, or absolute.

    Returns:
        `sqlite:////absolute/path`.

    Raises:
        ValueError: SQLAlchemy is older than 2.1 and the path holds a `?`, which it can't express.
    """
    from sqlalchemy.engine import make_url

    text = Path(path).resolve().as_posix()
    for uri in (f"sqlite:///{text}", f"sqlite:///{quote(text)}"):
        if make_url(uri).database == text:
            return uri
    raise ValueError(f"path expects no '?' with SQLAlchemy before 2.1, got {text!r}; update sqlalchemy or rename it.")


def sqlite_file(uri: str) -> Path | None:
    """The file that a URI names; None for servers, other databases and databases in memory."""
    from sqlalchemy.engine import make_url

    if not uri.startswith("sqlite:///"):
        return None
    database = make_url(uri).database
    return Path(database) if database and database != ":memory:" else None
