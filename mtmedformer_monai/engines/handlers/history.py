"""Records the metrics of all epochs in a JSON file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

from mtmedformer_monai.io.atomic_files import write_atomically

from .order import after_all

Row = dict[str, Any]


class History:
    """Maintains `history.json`, a list with one entry per epoch that is rewritten atomically after each epoch.

    An entry is `{"epoch": 3, "seconds": 12.5, "train": {metric: value}, "validation": {metric: value}}`. Undefined
    metrics are null in the file, and `validation` is empty if the epoch was not validated. A resumed run continues the
    existing file from the epoch at which it resumes.

    Args:
        path: path of the file.
        evaluator: evaluator of the validation during training, if any.
    """

    def __init__(self, path: str, evaluator: Engine | None = None) -> None:
        self.path = Path(path)
        self._evaluator = evaluator
        self._rows: list[Row] | None = None

    @property
    def rows(self) -> list[Row]:
        """Entries so far, oldest first, with NaN for undefined metrics; the file's content before the first epoch."""
        return read_history(self.path) if self._rows is None else list(self._rows)

    @property
    def key_metric(self) -> str | None:
        """Name of the evaluator's key metric."""
        return None if self._evaluator is None else self._evaluator.state.key_metric_name

    def best(self) -> Row | None:
        """Returns the entry with the highest key metric (the first of equals), or the last entry if none has one."""
        scored = [row for row in self.rows if not math.isnan(row["validation"].get(self.key_metric, math.nan))]
        if not scored:
            return self.rows[-1] if self.rows else None
        return max(scored, key=lambda row: float(row["validation"][self.key_metric]))

    def attach(self, engine: Engine) -> None:
        """Registers the handler on a trainer. List it before handlers that read the history."""
        after_all(engine, Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Adds the completed epoch."""
        epoch = engine.state.epoch
        if self._rows is None:
            self._rows = [row for row in read_history(self.path) if row["epoch"] < epoch] if epoch > 1 else []
        validated = self._evaluator is not None and self._evaluator.state.epoch == epoch
        row = {
            "epoch": epoch,
            "seconds": round(float(engine.state.times[Events.EPOCH_COMPLETED.name] or 0.0), 3),
            "train": _scalars(engine),
            "validation": _scalars(self._evaluator) if self._evaluator is not None and validated else {},
        }
        self._rows.append(row)
        if idist.get_rank() == 0:
            write_json(self.path, self._rows)


def read_history(path: str | Path) -> list[Row]:
    """Reads the entries of a history file, with NaN for null; [] if the file does not exist."""
    path = Path(path)
    if not path.exists():
        return []
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))
    for row in rows:
        for part in ("train", "validation"):
            row[part] = {name: math.nan if value is None else value for name, value in row[part].items()}
    return rows


def write_json(path: str | Path, content: Any) -> None:
    """Writes JSON atomically. NaN and infinities, which JSON does not support, become null."""
    text = json.dumps(_without_nan(content), indent=1, allow_nan=False)
    write_atomically(path, lambda file: file.write(text.encode()))


def _scalars(engine: Engine) -> dict[str, float]:
    return {name: float(value) for name, value in engine.state.metrics.items() if isinstance(value, int | float)}


def _without_nan(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
