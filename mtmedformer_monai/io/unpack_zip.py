"""Unpacks a ZIP file from elsewhere into a folder that it cannot leave, with a bounded size."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path, PurePosixPath

MAX_BYTES = 2**33
"""Maximum size of the unpacked files."""

MAX_FILES = 10_000
_BLOCK = 2**20


def unpack_zip(path: Path, folder: Path, max_bytes: int = MAX_BYTES) -> None:
    """Unpacks a ZIP file.

    The sizes that the file declares are not relied on: unpacking stops at `max_bytes`.

    Raises:
        ValueError: the file is damaged or not ZIP, a member has an absolute path, a path with '..' or is a link, or
            the content is too large. Nothing is written outside of the folder.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MAX_FILES:
                raise ValueError(f"{path.name} has {len(members):,} members; {MAX_FILES:,} are accepted.")
            for member in members:
                _check_member(path, member)
            left = max_bytes
            for member in members:
                if not member.is_dir():
                    left -= _write(archive, member, folder / member.filename, left)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path.name} is not a ZIP file that can be unpacked ({type(error).__name__}).") from error


def find_bundle(folder: Path) -> Path:
    """Returns the folder that contains `configs`: the folder itself or the only one in it.

    Raises:
        ValueError: there is none.
    """
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    found = next((place for place in places if (place / "configs").is_dir()), None)
    if found is None:
        raise ValueError("the ZIP file expects a folder named configs, found none; name a bundle.")
    return found


def _check_member(path: Path, member: zipfile.ZipInfo) -> None:
    name = member.filename
    parts = PurePosixPath(name).parts
    if not name or name.startswith("/") or ".." in parts or "\\" in name or ":" in name or "\0" in name:
        raise ValueError(f"{path.name} has a member whose path leads out of the folder ({name[:80]!r}); do not use it.")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ValueError(f"{path.name} has a member that is a link ({name[:80]!r}); do not use it.")


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, left: int) -> int:
    """Writes one member; returns its size."""
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with archive.open(member) as source, target.open("wb") as file:
        while block := source.read(_BLOCK):
            size += len(block)
            if size > left:
                raise ValueError("the unpacked content is larger than accepted; the ZIP file may be a bomb.")
            file.write(block)
    return size
