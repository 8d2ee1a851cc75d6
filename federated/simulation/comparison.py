"""Several ways to learn from the same sites, from the same weights, and the table at the end."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence

from mtmedformer_monai.engines.handlers.history import write_json
from mtmedformer_monai.federated.split.factory import SPLIT_SYSTEMS
from mtmedformer_monai.federated.strategies import make_strategy

from .bundle_parts import primary_metrics
from .cohort import prepare_data
from .history import KEY_METRIC, Metrics
from .rounds import Simulation
from .settings import SimulationSettings
from .split_rounds import SplitSimulation

logger = logging.getLogger("mtmedformer")

POOLED = "pooled"
"""All images at one site: the bound that a federation tries to reach."""

LOCAL = "local"
"""No exchange: the mean over the sites' own models."""


def compare(settings: SimulationSettings, baselines: Sequence[str] = ()) -> dict[str, Metrics]:
    """Simulates the strategy and the baselines, and writes `comparison.md` and `comparison.json`.

    Args:
        settings: of the simulation; its output folder gets one folder a way.
        baselines: names of strategies, `POOLED` or `LOCAL`.

    Returns:
        {way: figures on the test images of the whole cohort}.

    Raises:
        ValueError: a setting or a baseline that is not known.
    """
    ways = list(dict.fromkeys([settings.strategy, *baselines]))
    for way in ways:
        _settings_of(way, settings)  # a wrong one is told before the first is trained
    results = {way: simulate(way, settings) for way in ways}
    columns = [*primary_metrics(settings.bundle), KEY_METRIC]
    table = comparison_table(results, columns)
    write_json(settings.output / "comparison.json", results)
    (settings.output / "comparison.md").write_text(table + "\n", encoding="utf-8")
    logger.info("\nTest images of all sites, after %d rounds:\n%s", settings.num_rounds, table)
    return results


def simulate(way: str, settings: SimulationSettings, name: str = "") -> Metrics:
    """One way, from its first round or from where it stopped; its figures on the test images of the whole cohort.

    Args:
        way: name of a strategy or of a split-learning baseline, `POOLED` or `LOCAL`.
        settings: of the simulation.
        name: of its folder, where another than the way.
    """
    data = prepare_data(settings)
    if way in SPLIT_SYSTEMS:
        chosen = _settings_of(way, settings)
        return SplitSimulation(way, chosen, data, settings.output / (name or way)).run()["global"]
    sites = {POOLED: data.pooled} if way == POOLED else None
    keeps, folder = way in PERSONAL, settings.output / (name or way)
    found = Simulation(_settings_of(way, settings), data, folder, name or way, sites, personal=keeps).run()
    by_site = {site: figures for site, figures in found.items() if site != "global"}
    return mean_of_sites(by_site) if keeps else found["global"]


def _settings_of(way: str, settings: SimulationSettings) -> SimulationSettings:
    """The settings of a way, whose strategy can be built."""
    own = settings.strategy_settings if way == settings.strategy else {}
    strategy = "fedavg" if way == POOLED else way
    if way not in SPLIT_SYSTEMS:
        try:
            make_strategy(strategy, **own)
        except ValueError as error:
            raise ValueError(f"{error} Neighbors' systems: {', '.join(SPLIT_SYSTEMS)}.") from error
    return dataclasses.replace(settings, strategy=strategy, strategy_settings=own)


PERSONAL = (LOCAL, "fedbn")
"""Ways whose sites infer with weights that they keep: their figures are means over the sites."""


def comparison_table(results: Mapping[str, Metrics], columns: Sequence[str]) -> str:
    """Markdown: a row a way, a column a figure; undefined figures are a dash.

    Example:
        >>> print(comparison_table({"fedavg": {"lung_dice": 0.91234}}, ["lung_dice", "finding_auc"]))
        |  | lung_dice | finding_auc |
        | --- | --- | --- |
        | fedavg | 0.912 | - |
    """
    lines = [f"|  | {' | '.join(columns)} |", f"|{' --- |' * (len(columns) + 1)}"]
    for name, figures in results.items():
        cells = [_cell(figures.get(column, math.nan)) for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mean_of_sites(by_site: Mapping[str, Metrics]) -> Metrics:
    """Plain means over the sites for which a figure is defined."""
    names = {name for figures in by_site.values() for name in figures}
    return {name: _mean([figures.get(name, math.nan) for figures in by_site.values()]) for name in sorted(names)}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def _cell(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"
