"""Comparison of several methods on the same sites, from the same initial weights."""

from __future__ import annotations

import dataclasses
import logging
import math
import statistics
from collections.abc import Mapping, Sequence

from mtmedformer_monai.engines.handlers.history import write_json
from mtmedformer_monai.federated.split.factory import SPLIT_SYSTEMS
from mtmedformer_monai.federated.strategies import make_strategy, with_num_rounds

from .bundle_parts import primary_metrics
from .cohort import prepare_data
from .history import KEY_METRIC, Metrics
from .rounds import Simulation
from .settings import SimulationSettings
from .split_rounds import SplitSimulation

logger = logging.getLogger("mtmedformer")

POOLED = "pooled"
"""All images at one site: the upper bound of a federation."""

LOCAL = "local"
"""No exchange: each site trains alone."""

ONE_NETWORK = "one network"
"""Row of the network that the sites' own ones have taught."""


def compare(settings: SimulationSettings, baselines: Sequence[str] = ()) -> dict[str, Metrics]:
    """Simulates the strategy and the baselines, and writes `comparison.md` and `comparison.json`.

    Args:
        settings: of the simulation; each method gets a subfolder of its output folder.
        baselines: names of strategies or of split-learning baselines, `POOLED` or `LOCAL`.

    Returns:
        {method: metrics on the test images of the whole cohort}. A method with networks of the sites and a global one
        that serves all tasks has two rows.

    Raises:
        ValueError: an unknown setting or baseline.
    """
    methods = list(dict.fromkeys([settings.strategy, *baselines]))
    for method in methods:
        _settings_of(method, settings)  # raises an error before the first method is trained
    results = {name: row for method in methods for name, row in _rows(method, settings).items()}
    columns = [*primary_metrics(settings.bundle), KEY_METRIC]
    table = comparison_table(results, columns)
    write_json(settings.output / "comparison.json", results)
    (settings.output / "comparison.md").write_text(table + "\n", encoding="utf-8")
    logger.info("\nTest images of all sites, after %d rounds:\n%s", settings.num_rounds, table)
    return results


def simulate(method: str, settings: SimulationSettings, name: str = "") -> Metrics:
    """Simulates one method, or resumes it, and returns its metrics on the test images of the whole cohort.

    Args:
        method: name of a strategy or of a split-learning baseline, `POOLED` or `LOCAL`.
        settings: of the simulation.
        name: of its folder, if it differs from the method's name.
    """
    return next(iter(_rows(method, settings, name).values()))


def _rows(method: str, settings: SimulationSettings, name: str = "") -> dict[str, Metrics]:
    """Simulates a method; returns its row, and one of its network for all tasks if the sites have others."""
    data = prepare_data(settings)
    if method in SPLIT_SYSTEMS:
        chosen = _settings_of(method, settings)
        return {method: SplitSimulation(method, chosen, data, settings.output / (name or method)).run()["global"]}
    sites = {POOLED: data.pooled} if method == POOLED else None
    own, folder = _settings_of(method, settings), settings.output / (name or method)
    simulation = Simulation(own, data, folder, name or method, sites)
    found = simulation.run()
    by_site = {site: metrics for site, metrics in found.items() if site != "global"}
    if not simulation.is_personal:
        return {method: found["global"]}
    served = served_by_owners(by_site, simulation.images_by_task())
    one = {f"{method}, {ONE_NETWORK}": found["global"]} if simulation.has_one_network else {}
    mean = mean_score([served.get(name, math.nan) for name in primary_metrics(settings.bundle)])
    return {method: {**served, KEY_METRIC: mean}, **one}


def _settings_of(method: str, settings: SimulationSettings) -> SimulationSettings:
    """Returns the settings of a method, after checking that its strategy can be built."""
    own = with_num_rounds(
        method, settings.strategy_settings if method == settings.strategy else {}, settings.num_rounds
    )
    strategy = "fedavg" if method == POOLED else method
    if method in SPLIT_SYSTEMS and settings.start != "common":
        raise ValueError(
            f"start expects 'common' for the split-learning baseline {method!r}, got {settings.start!r}; its clients "
            "share parts of one network, so none can be trained alone before."
        )
    if method not in SPLIT_SYSTEMS:
        if settings.posterior:
            own.setdefault("distillation_rounds", 0)  # a distilled network has no posterior
        try:
            make_strategy(strategy, **own)
        except ValueError as error:
            raise ValueError(f"{error} Split-learning baselines: {', '.join(SPLIT_SYSTEMS)}.") from error
    return dataclasses.replace(settings, strategy=strategy, strategy_settings=own)


def comparison_table(results: Mapping[str, Metrics], columns: Sequence[str]) -> str:
    """Returns a Markdown table with one row per method and one column per metric; undefined metrics are dashes.

    Example:
        >>> print(comparison_table({"fedavg": {"lung_dice": 0.91234}}, ["lung_dice", "finding_auc"]))
        |  | lung_dice | finding_auc |
        | --- | --- | --- |
        | fedavg | 0.912 | - |
    """
    lines = [f"|  | {' | '.join(columns)} |", f"|{' --- |' * (len(columns) + 1)}"]
    for name, metrics in results.items():
        cells = [_cell(metrics.get(column, math.nan)) for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def served_by_owners(by_site: Mapping[str, Metrics], images_by_task: Mapping[str, Mapping[str, int]]) -> Metrics:
    """Returns each task's metrics as served by the sites that have labels of it: means weighted by these images.

    Metrics that belong to no task, such as the mean score, are plain means over the sites. Undefined metrics are
    ignored.

    Args:
        by_site: {site: metrics, those of a task named `TASK_METRIC`}.
        images_by_task: {site: {task: number of training images with its label}}.

    Example:
        >>> by_site = {"a": {"lung_dice": 0.9}, "b": {"lung_dice": 0.6}, "c": {"lung_dice": 0.0}}
        >>> served_by_owners(by_site, {"a": {"lung": 20}, "b": {"lung": 10}, "c": {"lung": 0}})
        {'lung_dice': 0.8}
    """
    names = sorted({name for metrics in by_site.values() for name in metrics})
    tasks = {task for counts in images_by_task.values() for task in counts}
    found = {}
    for name in names:
        owner = max((task for task in tasks if name.startswith(f"{task}_")), key=len, default=None)
        pairs = [
            (metrics.get(name, math.nan), 1 if owner is None else images_by_task.get(site, {}).get(owner, 0))
            for site, metrics in by_site.items()
        ]
        known = [(value, weight) for value, weight in pairs if weight > 0 and math.isfinite(value)]
        total = sum(weight for _, weight in known)
        found[name] = sum(value * weight for value, weight in known) / total if known else math.nan
    return found


def mean_score(values: Sequence[float]) -> float:
    """Returns the mean of the tasks' primary metrics, each as its owners are served; undefined ones are left out.

    Example:
        >>> mean_score([0.9, float("nan"), 0.7])
        0.8
    """
    known = [value for value in values if math.isfinite(value)]
    return statistics.fmean(known) if known else math.nan


def _cell(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"
