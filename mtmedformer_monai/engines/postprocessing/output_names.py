"""Unique names of the files that inference writes, one for each source image or study.

No two sources share a name within a run or a folder, even if the file system ignores case or Unicode normalization, and
a source keeps its name in later runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESERVED = frozenset({"skipped"})
"""Names of files that the bundle itself writes to the folder of the results."""

MAX_NAME_BYTES = 160
"""Maximum length of a name; most file systems allow 255 bytes, including endings and the suffix of temporary files."""

_ENDINGS = (".nii.gz", ".nii", ".dcm", ".dicom", ".png", ".jpeg", ".jpg")


class OutputNames:
    """Assigns a unique name to each source.

    A source gets its own file name unless another source of the run or an unrelated file in the folder has the name, or
    an input would be overwritten. In these cases, part of the source's SHA-256 is appended. A source whose result
    already exists in the folder keeps its name.

    Args:
        folder: output folder.
        endings: endings of the files that are written for each name; the first belongs to a JSON file.
        identify: returns the source that the content of such a JSON file belongs to, or '' if there is none.
        inputs: paths that must not be overwritten.
    """

    def __init__(
        self,
        folder: Path,
        endings: Sequence[str],
        identify: Callable[[Mapping[str, Any]], str],
        inputs: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self._endings = list(endings)
        self._identify = identify
        self._inputs = {_key(absolute(path)) for path in inputs}
        self._names: dict[str, str] = {}
        self._taken = {_key(name) for name in RESERVED}

    def __len__(self) -> int:
        """Returns the number of sources that have a name."""
        return len(self._names)

    def plan(self, stems: Mapping[str, str]) -> None:
        """Names several sources at once, so that the names do not depend on the order of the sources.

        Args:
            stems: {source: preferred name}.
        """
        new = {source: _shorten(stem) for source, stem in stems.items() if source not in self._names}
        namesakes = Counter(_key(stem) for stem in new.values())
        later = []
        for source, stem in new.items():
            owned = next((name for name in _candidates(stem, source) if self._owner(name) == source), None)
            if owned is not None and _key(owned) not in self._taken:
                self._take(source, owned)
            elif namesakes[_key(stem)] == 1 and self._is_free(stem):
                self._take(source, stem)
            else:
                later.append((source, stem))
        for source, stem in later:
            self._take(source, next(name for name in _candidates(stem, source)[1:] if self._is_free(name)))

    def name(self, source: str, stem: str) -> str:
        """Returns the name of a source, which is assigned now if it has none yet."""
        self.plan({source: stem})
        return self._names[source]

    def _take(self, source: str, name: str) -> None:
        self._names[source] = name
        self._taken.add(_key(name))

    def _is_free(self, name: str) -> bool:
        """Whether no other source of the run, no existing file and no input has the name."""
        if _key(name) in self._taken or self._owner(name) is not None:
            return False
        return not any(_key(absolute(self._folder / f"{name}{ending}")) in self._inputs for ending in self._endings)

    def _owner(self, name: str) -> str | None:
        """Returns the source of the existing result with this name; '' for an unrelated file, None without a file."""
        path, *others = (self._folder / f"{name}{ending}" for ending in self._endings)
        if not path.exists():
            return "" if any(other.exists() for other in others) else None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return ""
        return self._identify(content) if isinstance(content, dict) else ""


def stem_of(path: str) -> str:
    """Returns a file's name without the ending of its image format.

    Example:
        >>> stem_of("in/IM1.nii.gz"), stem_of("1.2.840.10")
        ('IM1', '1.2.840.10')
    """
    name = Path(path).name
    ending = next((ending for ending in _ENDINGS if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)] or "image"


def absolute(path: str | Path) -> str:
    """Returns the absolute path without '..'; symbolic links are not resolved."""
    return os.path.abspath(path)  # noqa: PTH100 - resolve() would follow links


def relative_to_given(path: str | Path, given: str | Path | Sequence[str | Path]) -> tuple[str, str]:
    """Splits a file's path into the folder that was given for inference and the relative path below it.

    Args:
        path: path of the file.
        given: file or folder, or several of them; if none contains the file, the file's own folder is the root.

    Returns:
        The absolute root and the path relative to it, with forward slashes.
    """
    whole = Path(absolute(path))
    for part in [given] if isinstance(given, (str, Path)) else given:
        root = Path(absolute(part))
        if str(part) and root != whole and root in whole.parents:
            return str(root), whole.relative_to(root).as_posix()
    return str(whole.parent), whole.name


def _candidates(stem: str, source: str) -> list[str]:
    digest = hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()
    return [stem, *(f"{stem}_{digest[:length]}" for length in (8, 16, 32, 64))]


def _shorten(stem: str) -> str:
    encoded = stem.encode("utf-8", "surrogateescape")
    return stem if len(encoded) <= MAX_NAME_BYTES else encoded[:MAX_NAME_BYTES].decode("utf-8", "ignore")


def _key(text: str) -> str:
    """Returns the same key for names that collide if a file system ignores case or Unicode normalization."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
