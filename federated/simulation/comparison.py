"""Several ways to learn from the same sites, from the same weights, and the table at the end."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence

from mtmedformer_monai.engines.history import write_json
from mtmedformer_monai.federated.strategies import make_strategy

from .bundle_parts import primary_figures
from .cohort import FederatedData, prepare_data
from .history import KEY_FIGURE, Figures
from .rounds import Simulation
from .settings import SimulationSettings

logger = logging.getLogger("mtmedformer")

POOLED = "pooled"
"""All images at one site: the bound that a federation tries to reach."""

LOCAL = "local"
"""No exchange: the mean over the sites' own models."""


def compare(settings: SimulationSettings, baselines: Sequence[str] = ()) -> dict[str, Figures]:
    """Simulates the strategy and the baselines, and writes `comparison.md` and `comparison.json`.

    Args:
        settings: of the simulation; its output folder gets one folder a way.
        baselines: names of strategies, `POOLED` or `LOCAL`.

    Returns:
        {way: figures on the test images of the whole cohort}.

    Raises:
        ValueError: a setting or a baseline that is not known.
    """
    ways = {way: _settings_of(way, settings) for way in dict.fromkeys([settings.strategy, *baselines])}
    data = prepare_data(settings)
    results = {way: _simulate(way, chosen, data) for way, chosen in ways.items()}
    columns = [*primary_figures(settings.bundle), KEY_FIGURE]
    table = comparison_table(results, columns)
    write_json(settings.output / "comparison.json", results)
    (settings.output / "comparison.md").write_text(table + "\n", encoding="utf-8")
    logger.info("\nTest images of all sites, after %d rounds:\n%s", settings.num_rounds, table)
    return results


def _settings_of(way: str, settings: SimulationSettings) -> SimulationSettings:
    """The settings of a way, whose strategy can be built."""
    own = settings.strategy_settings if way == settings.strategy else {}
    strategy = "fedavg" if way == POOLED else way
    make_strategy(strategy, **own)
    return dataclasses.replace(settings, strategy=strategy, strategy_settings=own)


def _simulate(way: str, settings: SimulationSettings, data: FederatedData) -> Figures:
    sites = {POOLED: data.pooled} if way == POOLED else None
    keeps = way in PERSONAL
    found = Simulation(settings, data, settings.output / way, way, sites, personal=keeps).run()
    by_site = {name: figures for name, figures in found.items() if name != "global"}
    return mean_of_sites(by_site) if keeps else found["global"]


PERSONAL = (LOCAL, "fedbn")
"""Ways whose sites infer with weights that they keep: their figures are means over the sites."""


def comparison_table(results: Mapping[str, Figures], columns: Sequence[str]) -> str:
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


def mean_of_sites(by_site: Mapping[str, Figures]) -> Figures:
    """Plain means over the sites for which a figure is defined."""
    names = {name for figures in by_site.values() for name in figures}
    return {name: _mean([figures.get(name, math.nan) for figures in by_site.values()]) for name in sorted(names)}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def _cell(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"
