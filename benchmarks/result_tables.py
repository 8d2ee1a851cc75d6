"""Markdown tables of benchmark results: mean and standard deviation over seeds or folds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence


def print_summary(
    corner: str, columns: Sequence[str], runs: Mapping[str, Sequence[Mapping[str, float | None]]]
) -> None:
    """Prints a table with one row per method and one column per metric, aggregated over runs.

    Args:
        corner: text of the upper left cell.
        columns: names of the metrics.
        runs: {method: {metric: value} of each run}; missing metrics are undefined.
    """
    print(table_header(corner, columns))
    for name, results in runs.items():
        print(table_row(name, [summarize([result.get(column) for result in results]) for column in columns]))


def table_header(corner: str, columns: Sequence[str]) -> str:
    """Returns the first two lines of a table."""
    return f"{table_row(corner, columns)}\n|{' --- |' * (len(columns) + 1)}"


def table_row(name: str, cells: Sequence[str]) -> str:
    """Returns a line of a table."""
    return f"| {name} | {' | '.join(cells)} |"


def summarize(values: Sequence[float | None]) -> str:
    """Returns the mean, and the standard deviation of several values; a dash if all values are undefined.

    If some are, their number follows, because this mean is of other runs than those of the row's other cells.

    Example:
        >>> summarize([0.5, 0.7, None])
        '0.600 ± 0.141 (2 of 3)'
    """
    known = [value for value in values if value is not None and value == value]
    if not known:
        return "-"
    spread = f" ± {statistics.stdev(known):.3f}" if len(known) > 1 else ""
    return f"{statistics.fmean(known):.3f}{spread}" + (f" ({len(known)} of {len(values)})" * (len(known) < len(values)))
