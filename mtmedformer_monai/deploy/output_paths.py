"""Names of output folders and files, built from a safe alphabet so that no input can escape the output folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

LONGEST = 64
"""Maximum length of a name that is derived from a file name."""

_UNSAFE = re.compile(r"[^A-Za-z0-9-]+")
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")


def safe_name(text: str, fallback: str = "image") -> str:
    """Returns a name of at most `LONGEST` ASCII letters, digits, '_' and '-' that starts and ends with neither sign.

    Example:
        >>> safe_name("../../etc/passwd"), safe_name("Größe 1"), safe_name("..")
        ('etc_passwd', 'Gr_e_1', 'image')
    """
    return _UNSAFE.sub("_", text)[:LONGEST].strip("_-") or fallback


def short_hash(text: str) -> str:
    """Returns the first eight digits of the SHA-256 of a text, which may contain undecodable bytes of a path."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def study_folder(study_uid: str, source: str) -> str:
    """Returns the name of a study's folder: its Study Instance UID or, without one, the file's name and a hash.

    The name depends on nothing but the arguments, so that a second run writes to the same folder.

    Args:
        study_uid: Study Instance UID as the header has it, or ''.
        source: absolute path of the file.
    """
    if len(study_uid) <= LONGEST and _UID.fullmatch(study_uid):
        return study_uid
    if study_uid:
        return f"study_{short_hash(study_uid)}"
    return f"{safe_name(Path(source).stem)}_{short_hash(source)}"


def image_name(parts: Iterable[str | None], identity: str) -> str:
    """Returns the name of an image's files: what it shows, and a hash of what identifies it.

    Args:
        parts: modality, laterality, view or file name; None and '' are omitted.
        identity: SOP Instance UID, or path of the file.

    Example:
        >>> image_name(["MG", "R", "CC"], "1.2.3")
        'MG_R_CC_c47f5b18'
    """
    return f"{safe_name('_'.join(part for part in parts if part))}_{short_hash(identity)}"


def inside(folder: Path, name: str) -> Path:
    """Returns the path of a file or folder in an output folder.

    Raises:
        ValueError: the path, with all links resolved, is outside the folder.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"the output {name!r} would be outside the output folder; remove the link of this name there.")
    return path
