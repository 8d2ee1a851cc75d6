"""A cached dataset that goes on without the files that cannot be read."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from monai.data import CacheDataset
from monai.transforms import Compose

from mtmedformer_monai.keys import IMAGE

logger = logging.getLogger(__name__)

POLICIES = ("skip", "raise")


class RadiographDataset(CacheDataset):
    """MONAI's CacheDataset, without items whose files are missing, broken or not to be read.

    All items are read once when the data are set. A bad one (its transform raises a ValueError or an OSError, which
    all errors of `mtmedformer_monai.transforms` are) is left out, logged and listed in `bad_files`. Errors in code go
    through.

    Args:
        data: items of a datalist.
        transform: composed; what stands before the first random transform is cached.
        cache: keep what was read in memory; otherwise each epoch reads it anew.
        on_bad_file: 'skip' goes on without, 'raise' stops at the first.
        report: path of a JSON file with the bad ones, written where there are any.
        num_workers: threads that read.

    Raises:
        ValueError: a bad file with 'raise', or no item is left.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        transform: Compose,
        cache: bool = True,
        on_bad_file: str = "skip",
        report: str | Path | None = None,
        num_workers: int = 2,
    ) -> None:
        if on_bad_file not in POLICIES:
            raise ValueError(f"on_bad_file expects one of {POLICIES}, got {on_bad_file!r}.")
        self.on_bad_file = on_bad_file
        self.report = Path(report) if report is not None else None
        self.bad_files: list[dict[str, str]] = []
        self.keeps_items = cache
        self._cache: list[Any] = []
        super().__init__(data, transform, num_workers=num_workers, progress=False)

    def set_data(self, data: Sequence[dict[str, Any]]) -> None:
        """Reads all items, and keeps those that can be read."""
        self.set_rate = 1.0
        super().set_data(list(data))
        outcomes = self._cache
        self.bad_files = [outcome.described() for outcome in outcomes if isinstance(outcome, BadFile)]
        good = [index for index, outcome in enumerate(outcomes) if not isinstance(outcome, BadFile)]
        self.data = [data[index] for index in good]
        self._cache = [outcomes[index] for index in good] if self.keeps_items else []
        self.cache_num = len(self._cache)
        self._tell(len(data))

    def _load_cache_item(self, idx: int) -> Any:
        try:
            item = super()._load_cache_item(idx)
        except (RuntimeError, ValueError, OSError) as error:
            cause = next((c for c in _causes(error) if isinstance(c, (ValueError, OSError))), None)
            if cause is None:
                raise
            if self.on_bad_file == "raise":
                raise ValueError(f"{cause} (on_bad_file='skip' would go on without it.)") from error
            return BadFile(str(self.data[idx].get(IMAGE, "")), cause)
        return item if self.keeps_items else None  # uncached, the cohort may be larger than the memory

    def _tell(self, total: int) -> None:
        if not self.bad_files:
            return
        listed = "\n".join(f"  {bad['image']}: {bad['problem']}" for bad in self.bad_files)
        logger.warning("%d of %d images are left out:\n%s", len(self.bad_files), total, listed)
        if self.report is not None:
            self.report.parent.mkdir(parents=True, exist_ok=True)
            self.report.write_text(json.dumps(self.bad_files, indent=1), encoding="utf-8")
        if not self.data:
            raise ValueError(f"none of the {total} images can be read; the first: {self.bad_files[0]['problem']}")


class BadFile:
    """Stands in the cache for an item that could not be read."""

    def __init__(self, image: str, error: Exception) -> None:
        self.image = image
        self.problem = str(error)

    def described(self) -> dict[str, str]:
        """As in the report."""
        return {"image": self.image, "problem": self.problem}


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from, outermost first; MONAI wraps those of transforms in RuntimeError."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
