"""Choice of the learning rates of the federation study, by regime and method, on seeds that the study does not use.

Generated regimes have other patients with other seeds. Of real sets without a test part of their own, a patient may
validate with one seed and be tested with another.
"""

from __future__ import annotations

import json
import logging
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

GRIDS: Final[dict[str, tuple[float, ...]]] = {
    "adamw": (1e-3, 2e-3, 4e-3, 8e-3),
    "sgd": (0.01, 0.03, 0.1, 0.3),
}
"""Learning rates that are tried, equally many per method."""


def choose_rates(records: Sequence[Mapping[str, Any]], path: Path, criterion: str = "dice") -> dict[str, float]:
    """Returns {regime/method: learning rate with the best mean over seeds}, and writes it to a file.

    Args:
        records: runs that were measured on validation images.
        path: of the file; other entries in it are kept.
        criterion: metric; higher is better, except for 'loss'.
    """
    values: dict[str, dict[float, list[float]]] = {}
    for record in records:
        name = f"{record['regime']}/{record['method']}"
        values.setdefault(name, {}).setdefault(record["lr"], []).append(float(record[criterion]))
    sign = -1.0 if criterion == "loss" else 1.0
    chosen = {}
    for name, by_rate in sorted(values.items()):
        most = max(len(found) for found in by_rate.values())
        means = {lr: sign * statistics.fmean(each) for lr, each in by_rate.items() if len(each) == most}
        known = {lr: mean for lr, mean in means.items() if mean == mean}
        if known:
            chosen[name] = max(sorted(known), key=lambda lr: known[lr])
        else:
            logging.warning("%s has no defined %s; no learning rate is chosen", name, criterion)
    merged = read_rates(path) | chosen
    path.write_text(json.dumps(merged, indent=2) + "\n")
    return merged


def read_rates(path: Path) -> dict[str, float]:
    """Returns the chosen learning rates; empty if there is no file."""
    return dict(json.loads(path.read_text())) if path.is_file() else {}
