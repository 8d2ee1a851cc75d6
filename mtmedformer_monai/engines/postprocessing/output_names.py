"""Names of the files that inference writes: one for each source, whatever the sources are called.

Two sources never share a name in one run or in one folder, also where the file system ignores case or Unicode form, and
a source keeps its name when it is read again.
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
"""Names of files that the bundle itself writes beside the results."""

LONGEST = 160
"""Bytes of a name; most file systems take 255, of which endings and the suffix of half-written files need some."""

_ENDINGS = (".nii.gz", ".nii", ".dcm", ".dicom", ".png", ".jpeg", ".jpg")


class OutputNames:
    """Gives each source a name of its own.

    A name is the source's own where no other source of the run has it, no file of the folder that comes from elsewhere,
    and no input would be overwritten; else a part of the source's SHA-256 follows. A source whose result lies in the
    folder already keeps that name.

    Args:
        folder: where the files go.
        endings: of the files that are written for each name; the first is a JSON file.
        identify: tells of which source the content of such a JSON file is; '' of none.
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
        """Number of sources that have a name."""
        return len(self._names)

    def plan(self, stems: Mapping[str, str]) -> None:
        """Names sources together, so that none of several namesakes gets the plain name because it came first.

        Args:
            stems: {source: the name that it would have alone}.
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
        """The name of a source; it is planned now if it was not before."""
        self.plan({source: stem})
        return self._names[source]

    def _take(self, source: str, name: str) -> None:
        self._names[source] = name
        self._taken.add(_key(name))

    def _is_free(self, name: str) -> bool:
        """Whether neither another source of the run, a foreign file nor an input has the name."""
        if _key(name) in self._taken or self._owner(name) is not None:
            return False
        return not any(_key(absolute(self._folder / f"{name}{ending}")) in self._inputs for ending in self._endings)

    def _owner(self, name: str) -> str | None:
        """The source of the result that has the name in the folder, '' if it is foreign; None where there is none."""
        path, *others = (self._folder / f"{name}{ending}" for ending in self._endings)
        if not path.exists():
            return "" if any(other.exists() for other in others) else None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return ""
        return self._identify(content) if isinstance(content, dict) else ""


def stem_of(path: str) -> str:
    """A file's name without the ending of an image.

    Example:
        >>> stem_of("in/IM1.nii.gz"), stem_of("1.2.840.10")
        ('IM1', '1.2.840.10')
    """
    name = Path(path).name
    ending = next((ending for ending in _ENDINGS if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)] or "image"


def absolute(path: str | Path) -> str:
    """A path from the root on, without '..'; links are left as they are."""
    return os.path.abspath(path)  # noqa: PTH100 - resolve() would follow links


def relative_to_given(path: str | Path, given: str | Path | Sequence[str | Path]) -> tuple[str, str]:
    """Splits a file's path into the folder that was given for inference, and the way from there to the file.

    Args:
        path: of the file.
        given: file, folder or several of them that were named; the file's own folder stands in where none fits.

    Returns:
        Root (absolute), and the path from there, with slashes.
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
    return stem if len(encoded) <= LONGEST else encoded[:LONGEST].decode("utf-8", "ignore")


def _key(text: str) -> str:
    """Equal for what a file system that ignores case or Unicode form takes for one name."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
