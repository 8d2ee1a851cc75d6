"""What the server of a federation writes: metrics by round, and the final model as the bundle's own files."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.message import Message, TensorKind, Weights, key, pick
from mtmedformer_monai.federated.pvi.weight_posterior import from_broadcast
from mtmedformer_monai.federated.server_session import ServerSession
from mtmedformer_monai.federated.simulation.bundle_parts import read_bundle
from mtmedformer_monai.federated.simulation.comparison import served_by_owners
from mtmedformer_monai.federated.simulation.history import read_rounds, write_rounds
from mtmedformer_monai.federated.simulation.model_files import group_file, write_models
from mtmedformer_monai.federated.simulation.tracking import SimulationTracker
from mtmedformer_monai.federated.sites_file import Site
from mtmedformer_monai.federated.strategies import make_strategy
from mtmedformer_monai.federated.strategies.distilled import is_distilled
from mtmedformer_monai.uncertainty.posterior_file import Provenance, save_posterior

from .settings import JobSettings

logger = logging.getLogger("mtmedformer")

RUN = "run_id"


class Progress:
    """Writes `rounds.json`, and logs the rounds to MLflow if the settings say so.

    A round's metrics come from the sites, with their answers in the next round. The global metrics are means of the
    sites' metrics, each task's weighted by the images with its label.

    Args:
        folder: for `rounds.json` and `mlflow.db`.
        settings: of the federation.
        session: of the server.
    """

    def __init__(self, folder: Path, settings: JobSettings, session: ServerSession) -> None:
        self._folder, self._session = folder, session
        self._rounds = read_rounds(folder / "rounds.json")[: session.aggregator.round]
        self._tracker = _tracker(folder, settings, session) if settings.track else None

    def add_round(self, number: int, sites: Sequence[str], seconds: float, traffic: tuple[int, int]) -> None:
        """Adds a round whose messages have been aggregated.

        Args:
            number: of the round, starting at 1.
            sites: whose messages were accepted.
            seconds: duration.
            traffic: bytes of all accepted messages, and of all broadcasts, as transmitted.
        """
        row = {"round": number, "global": {}, "sites": {site: {} for site in sites}, "seconds": round(seconds, 1)}
        self._rounds.append({**row, "bytes_sent": traffic[0], "bytes_broadcast": traffic[1]})
        write_rounds(self._rounds, self._folder / "rounds.json")
        logger.info("Round %d: aggregated the messages of %s (%.0f s).", number, ", ".join(sorted(sites)), seconds)

    def log_metrics(self, number: int, by_site: Mapping[str, Mapping[str, float]]) -> None:
        """Adds the metrics of a round's model at the sites."""
        row = next((each for each in self._rounds if each["round"] == number), None)
        if row is None or not by_site:
            return
        sites = {site: dict(metrics) for site, metrics in by_site.items()}
        row["global"] = served_by_owners(sites, self._session.aggregator.images_by_task)
        row["sites"] = {**row["sites"], **sites}
        write_rounds(self._rounds, self._folder / "rounds.json")
        if self._tracker is not None:
            self._tracker.log(row)

    def finish(self, artifacts: Sequence[Path]) -> None:
        """Closes the tracked run."""
        logger.info("Wrote %s.", ", ".join(str(path) for path in artifacts))
        if self._tracker is not None:
            self._tracker.finish(self._folder / "rounds.json")


def write_results(aggregator: Aggregator, settings: JobSettings, server: Site) -> list[Path]:
    """Writes `models/model.pt`, `models/model_TASKS.pt` of each group and, if there is one, `models/posterior.pt`.

    The folder is laid out as the bundle's, so its `models` may be copied over the bundle's. The posterior has
    temperature 1: another one would have to be fitted on the sites' images. A `model.pt` that was distilled has none;
    the groups' networks, which taught it, have `models/posterior_TASKS.pt`.

    Returns:
        The paths of the files.
    """
    folder = Path(server.output) / "models"
    sent = aggregator.broadcast().weights
    paths = write_models(sent, aggregator.group_weights(), folder)
    posteriors = _posteriors(aggregator)
    if not posteriors:
        return paths
    strategy: Any = make_strategy(settings.strategy, **settings.strategy_settings)
    overrides = {**settings.common_overrides(), **server.overrides}
    network = read_bundle(Path(server.bundle), overrides).get_parsed_content("network_def")
    images = sum(max(counts.values(), default=0) for counts in aggregator.images_by_task.values())
    provenance = Provenance(len(aggregator.accepted), aggregator.round, images)
    for name, message in posteriors.items():
        posterior = from_broadcast(message, strategy.prior_precision, network, provenance)
        paths.append(folder / name)
        save_posterior(posterior, paths[-1])
    return paths


def _posteriors(aggregator: Aggregator) -> dict[str, Message]:
    """Returns {name of a file: broadcast with a posterior}: the global one, or those of the groups that taught it."""
    sent = aggregator.broadcast().weights or {}
    if pick(sent, TensorKind.PRECISION):
        return {"posterior.pt": dict(sent)}
    if not is_distilled(sent):
        return {}
    return {
        group_file("posterior", group): _message(mean, precision)
        for group, (mean, precision) in aggregator.group_networks().items()
        if precision
    }


def _message(mean: Weights, precision: Weights) -> Message:
    means = {key(TensorKind.MEAN, name): value for name, value in mean.items()}
    return means | {key(TensorKind.PRECISION, name): value for name, value in precision.items()}


def _tracker(folder: Path, settings: JobSettings, session: ServerSession) -> SimulationTracker:
    names = ("num_rounds", "local_epochs", "strategy", "seed")
    parameters = {name: getattr(settings, name) for name in names}
    tracker = SimulationTracker(folder, settings.name, parameters, session.notes.get(RUN))
    session.notes[RUN] = tracker.run_id
    session.save()
    return tracker
