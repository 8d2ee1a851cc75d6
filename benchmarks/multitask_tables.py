"""Tables of the multi-task comparison."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from federation_tables import holm
from result_tables import summarize, table_header, table_row
from scipy.stats import ttest_rel

Record = dict[str, Any]
Folds = dict[int, Record]
OURS = "ours"
LAST = "last_"
"""Prefix of the metrics of a training's last weights; the others are those of its best epoch."""
COSTS = ("parameters", "cpu_seconds")
SETTING = ("cohort", "height", "width", "epochs", "lr")


def print_tables(records: Sequence[Record], metrics: Mapping[str, Sequence[str]], reference: str = OURS) -> None:
    """Prints two tables per cohort and setting: the metrics, and the differences of one row from each other row.

    Args:
        records: trainings.
        metrics: {cohort: names of its metrics}.
        reference: name of that row.
    """
    for setting in sorted({tuple(record[key] for key in SETTING) for record in records}):
        chosen = [record for record in records if tuple(record[key] for key in SETTING) == setting]
        cohort, height, width, epochs, lr = setting
        rows, names = rows_of(chosen), metrics[cohort]
        folds = sorted({fold for each in rows.values() for fold in each})
        print(f"\n### {cohort}, {height} x {width}, {epochs} epochs, learning rate {lr:g}, folds {folds}\n")
        print("\n".join(metric_table(rows, names)), end="\n\n")
        print("\n".join(difference_table(rows, names, reference)))


def of_last_weights(records: Sequence[Record]) -> list[Record]:
    """Returns records with the metrics of the last weights in place of those of the best epoch, where there are any."""
    found = []
    for record in records:
        last = {key.removeprefix(LAST): value for key, value in record.items() if key.startswith(LAST)}
        if last:
            found.append({key: value for key, value in record.items() if not key.startswith(LAST)} | last)
    return found


def rows_of(records: Sequence[Record]) -> dict[str, Folds]:
    """Returns {row: {fold: metrics}}; networks for one task are merged into one row, with the sums of their costs."""
    rows: dict[str, Folds] = {}
    for record in records:
        several = " " in record["task"] or not record["task"]
        name = ", ".join(filter(None, (record["network"], "" if several else "one task", record["variant"])))
        kept = rows.setdefault(name, {}).setdefault(record["fold"], {})
        for key, value in record.items():
            if key in COSTS:
                kept[key] = kept.get(key, 0) + value
            elif value is not None and (several or key.startswith(f"{record['task']}_")):
                kept[key] = value
    return rows


def metric_table(rows: Mapping[str, Folds], metrics: Sequence[str]) -> list[str]:
    """Returns the lines of the table of metrics and costs."""
    lines = [table_header("network", [*metrics, "million parameters", "CPU s"])]
    for name, folds in rows.items():
        cells = [summarize([run.get(metric) for run in folds.values()]) for metric in metrics]
        millions = statistics.median(run["parameters"] for run in folds.values()) / 1e6
        seconds = statistics.median(run["cpu_seconds"] for run in folds.values())
        lines.append(table_row(name, [*cells, f"{millions:.1f}", f"{seconds:.0f}"]))
    return lines


def difference_table(rows: Mapping[str, Folds], metrics: Sequence[str], reference: str = OURS) -> list[str]:
    """Returns the lines of the table of mean differences, the reference minus the row, with p values in parentheses.

    The p values are those of the paired t-test over folds, corrected over the rows by Holm.
    """
    lines = [table_header(f"{reference} minus", metrics)]
    others = [name for name in rows if name != reference]
    cells: dict[str, list[str]] = {name: [] for name in others}
    for metric in metrics:
        pairs = {name: _pairs(rows.get(reference, {}), rows[name], metric) for name in others}
        corrected = holm({name: _t_test(each) for name, each in pairs.items()})
        for name in others:
            cells[name].append(_cell(pairs[name], corrected[name]))
    return lines + [table_row(name, cells[name]) for name in others]


def _pairs(ours: Folds, theirs: Folds, metric: str) -> list[tuple[float, float]]:
    both = [(ours[fold].get(metric), theirs[fold].get(metric)) for fold in sorted(set(ours) & set(theirs))]
    return [(one, other) for one, other in both if one is not None and other is not None]


def _t_test(pairs: Sequence[tuple[float, float]]) -> float:
    if len(pairs) < 2 or len({one - other for one, other in pairs}) == 1:
        return math.nan
    return float(ttest_rel(*zip(*pairs, strict=True)).pvalue)


def _cell(pairs: Sequence[tuple[float, float]], p_value: float) -> str:
    if not pairs:
        return "-"
    text = f"{statistics.fmean(one - other for one, other in pairs):+.3f}"
    return text if math.isnan(p_value) else f"{text} ({p_value:.2g})"
