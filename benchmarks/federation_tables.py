"""Markdown tables of the federation study, with paired tests against one method."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from result_tables import summarize, table_header, table_row
from scipy.stats import ttest_1samp, wilcoxon

Record = Mapping[str, Any]
Runs = dict[int, Record]
"""{seed: its run}."""

ALONE = "local"
"""Method whose networks are those of the sites alone."""
ALONE_LIKE = ("local:start=own", "local:start=given")
"""The same, after training apart, and from given weights."""
BEST_OWNER = "best owner alone"
OTHERS = ("loss", "score", "ece", "nll", "megabytes_up", "megabytes_down", "cpu_seconds", "wall_seconds")


def print_tables(records: Sequence[Record], reference: str) -> None:
    """Prints tables of segmentation, all metrics and sites, for each setting of the runs.

    Args:
        records: runs.
        reference: method that all others are compared with.
    """
    for group in sorted({_group(record) for record in records}):
        runs = _runs_of([record for record in records if _group(record) == group])
        regime, size, fine_maps, rounds, epochs, apart, batch_size, given = group
        seeds = sorted({seed for each in runs.values() for seed in each})
        network = ", fine maps" if fine_maps else ""
        before = (f", after {apart} epochs apart" if apart else "") + (f", from {given}" if given else "")
        steps = f"{rounds} rounds of {epochs} epochs in batches of {batch_size}"
        print(f"\n### {regime}, {size} px{network}, {steps}{before}, seeds {seeds}\n")
        tables = [segmentation_table(runs, reference), other_table(runs)]
        tables += [site_table(runs)] if ALONE in runs else []
        print("\n\n".join("\n".join(table) for table in tables))


def segmentation_table(runs: Mapping[str, Runs], reference: str) -> list[str]:
    """Returns the lines of the table of mean Dice over segmentation tasks.

    The difference is that of the reference from the method, so positive numbers speak for the reference. P values are
    corrected over the methods by Holm: of the t-test over seeds, and of the signed-rank test over seeds and images. The
    latter are too small to judge a method by: images of a seed share a training, and an image may be in several seeds.
    """
    lines = [table_header("method", ["lr", "Dice", f"{reference} minus method", "p (seeds)", "p (seeds and images)"])]
    ours = runs.get(reference, {})
    pairs = {name: _pairs(ours, each) for name, each in runs.items() if name != reference}
    gaps = {name: _gaps(each) for name, each in pairs.items()}
    by_seed = holm({name: t_test(each) for name, each in gaps.items()})
    by_image = holm({name: signed_rank(image_pairs(each)) for name, each in pairs.items()})
    for name, each in runs.items():
        tests = [_p(by_seed.get(name)), _p(by_image.get(name))]
        rates = ", ".join(f"{lr:g}" for lr in sorted({run["lr"] for run in each.values()}))
        lines.append(table_row(name, [rates, _summary(each, "dice"), _signed(gaps.get(name, [])), *tests]))
    if ALONE in runs:
        lines.append(table_row(BEST_OWNER, ["", _summary(runs[ALONE], "best_owner_dice"), "", "", ""]))
    return lines


def other_table(runs: Mapping[str, Runs]) -> list[str]:
    """Returns the lines of the table of all other metrics; differences from alone are those of the worst site."""
    scores = sorted({key for each in runs.values() for run in each.values() for key in run if key.endswith("_score")})
    lines = [table_header("method", [*scores, "worst site", "worst site minus alone", *OTHERS])]
    for name, each in runs.items():
        worst = [min(_known(run["site_scores"].values()), default=None) for run in each.values()]
        apart = [_worst_gap(run, runs.get(ALONE, {}).get(seed)) for seed, run in each.items()]
        cells = [_summary(each, key) for key in (*scores, *OTHERS)]
        cells[len(scores) : len(scores)] = [summarize(worst), summarize(apart)]
        lines.append(table_row(name, cells))
    return lines


def site_table(runs: Mapping[str, Runs]) -> list[str]:
    """Returns the lines of the table of the sites' mean scores alone, and of all methods' differences from these.

    Methods that serve only some of the tasks are left out, because their scores are means over other tasks.
    P values are those of the t-test over seeds, corrected by Holm over a method's sites.
    """
    alone = runs[ALONE]
    sites = sorted({site for run in alone.values() for site in run["site_scores"]})
    cells = [summarize([run["site_scores"].get(site) for run in alone.values()]) for site in sites]
    lines = [table_header("score, less alone (p)", sites), table_row(ALONE, cells)]
    for name, each in runs.items():
        pairs = [(one, other) for one, other in _pairs(each, alone) if _tasks(one) == _tasks(other)]
        if name == ALONE or not pairs:
            continue
        gaps = {site: _known(_site_gap(one, other, site) for one, other in pairs) for site in sites}
        tests = holm({site: t_test(values) for site, values in gaps.items()})
        lines.append(
            table_row(
                name, [f"{_signed(gaps[site])} ({_p(tests[site]) or '-'})" if gaps[site] else "-" for site in sites]
            )
        )
    return lines


def t_test(gaps: Sequence[float]) -> float:
    """Returns the p value of the paired t-test from the differences; NaN for fewer than two, or if all are equal."""
    if len(gaps) < 2 or len(set(gaps)) == 1:
        return float("nan")
    return float(ttest_1samp(gaps, 0.0).pvalue)


def signed_rank(gaps: Sequence[float]) -> float:
    """Returns the p value of Wilcoxon's signed-rank test; NaN if all differences are 0."""
    return float(wilcoxon(gaps).pvalue) if any(gaps) else float("nan")


def image_pairs(pairs: Iterable[tuple[Record, Record]]) -> list[float]:
    """Returns the differences in Dice of all images with a structure, over seeds and segmentation tasks."""
    gaps: list[float] = []
    for one, other in pairs:
        for task in sorted(set(one["image_dice"]) & set(other["image_dice"])):
            values = np.array(one["image_dice"][task]) - np.array(other["image_dice"][task])
            gaps += values[~np.isnan(values)].tolist()
    return gaps


def holm(values: Mapping[str, float]) -> dict[str, float]:
    """Returns p values corrected for their number (Holm, Scand. J. Stat. 6, 1979); NaN stays and does not count.

    Example:
        >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
        {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    known = sorted((value, name) for name, value in values.items() if value == value)
    corrected, highest = {}, 0.0
    for rank, (value, name) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        corrected[name] = highest
    return corrected | {name: value for name, value in values.items() if value != value}


def _runs_of(records: Sequence[Record]) -> dict[str, Runs]:
    """Returns {method: its runs} of a setting; of a method with several learning rates, each has a row of its own."""
    rates: dict[str, set[float]] = {}
    for record in records:
        rates.setdefault(_name(record), set()).add(record["lr"])
    runs: dict[str, Runs] = {}
    for record in records:
        name = _name(record)
        row = name if len(rates[name]) == 1 else f"{name}, lr {record['lr']:g}"
        runs.setdefault(row, {})[record["seed"]] = record
    return runs


def _name(record: Record) -> str:
    name = str(record["method"])
    return ALONE if name in ALONE_LIKE else name


def _group(record: Record) -> tuple[str, int, bool, int, int, int, int, str]:
    numbers = int(record["rounds"]), int(record["local_epochs"]), int(record.get("pretrain_epochs", 0))
    setting = str(record["regime"]), int(record["image_size"]), bool(record["fine_maps"])
    return *setting, *numbers, int(record["batch_size"]), str(record.get("weights", ""))


def _pairs(ours: Runs, theirs: Runs) -> list[tuple[Record, Record]]:
    return [(ours[seed], theirs[seed]) for seed in sorted(set(ours) & set(theirs))]


def _gaps(pairs: Iterable[tuple[Record, Record]]) -> list[float]:
    return [float(one["dice"]) - float(other["dice"]) for one, other in pairs]


def _tasks(run: Record) -> set[str]:
    """Returns the names of the metrics of all tasks that a run serves."""
    return {name for name in run if name.endswith("_score")}


def _site_gap(one: Record, other: Record, site: str) -> float:
    """Returns the difference of a site's scores; NaN if one of the runs does not serve it."""
    return float(one["site_scores"].get(site, float("nan"))) - float(other["site_scores"].get(site, float("nan")))


def _worst_gap(run: Record, alone: Record | None) -> float | None:
    """Returns the smallest difference of a site's score from its score alone."""
    if alone is None or _tasks(run) != _tasks(alone):
        return None
    return min(_known(_site_gap(run, alone, site) for site in run["site_scores"]), default=None)


def _known(values: Iterable[float]) -> list[float]:
    return [value for value in values if value == value]


def _summary(runs: Runs, key: str) -> str:
    return summarize([run.get(key) for run in runs.values()])


def _signed(gaps: Sequence[float]) -> str:
    return f"{statistics.fmean(gaps):+.3f}" if gaps else ""


def _p(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.2g}"
