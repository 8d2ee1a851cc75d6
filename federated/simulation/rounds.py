"""Rounds of a simulated federation: sites run in their own processes, the server in this one."""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.exchange import read_exchange, write_exchange
from mtmedformer_monai.federated.message import TensorKind, pick
from mtmedformer_monai.federated.server_session import ServerSession
from mtmedformer_monai.federated.simulation import worker
from mtmedformer_monai.federated.site_session import MESSAGE, MODEL
from mtmedformer_monai.federated.sites_file import Site
from mtmedformer_monai.federated.strategies import make_strategy
from mtmedformer_monai.federated.strategies.distilled import is_distilled
from mtmedformer_monai.io.atomic_files import load_checkpoint
from mtmedformer_monai.io.config_text import config_text
from mtmedformer_monai.uncertainty.posterior_file import Provenance

from .bundle_parts import initial_weights, primary_metrics, read_bundle
from .cohort import FederatedData, count_images
from .history import KEY_METRIC, Metrics, draw_rounds, read_rounds, write_rounds
from .model_files import write_models, write_posterior
from .pretraining import Pretraining, largest_site, pretrain
from .settings import SimulationSettings
from .site_process import start_process
from .tracking import SimulationTracker
from .worker import SiteSpec

logger = logging.getLogger("mtmedformer")


class Simulation:
    """One simulated federation, which resumes where it was stopped.

    Server and sites are those of the engines, `ServerSession` and `SiteSession`; messages are passed as files.

    Files in its folder: `rounds.json` and `rounds.png` (metrics by round), the state of the server, `model.pt`, one
    `model_TASKS.pt` per group of sites, `posterior.pt`, `broadcast.pt`, one folder per site, `mlflow.db`.

    Args:
        settings: of the simulation.
        data: datalists of all sites.
        folder: for its files.
        name: for logs and tracking.
        sites: {name: datalist}; default those of the data.

    Attributes:
        is_personal: whether sites infer with networks of their own (`Strategy.is_personal`).

    Raises:
        ValueError: the folder contains a federation with other settings.
    """

    def __init__(
        self,
        settings: SimulationSettings,
        data: FederatedData,
        folder: Path,
        name: str = "",
        sites: Mapping[str, Path] | None = None,
    ) -> None:
        self._settings, self._data, self._folder = settings, data, folder
        self._name = name or settings.strategy
        self._datalists = dict(sites or data.sites)
        self._strategy: Any = make_strategy(settings.strategy, **settings.strategy_settings)
        self.is_personal = bool(self._strategy.is_personal)
        self._specs = [self._spec(site, path) for site, path in self._datalists.items()]
        self._pretrained = {spec.name: self._pretraining(index, spec) for index, spec in enumerate(self._specs)}
        if settings.start == "own":
            self._specs = [self._with_own_weights(spec) for spec in self._specs]
        weights = initial_weights(settings.bundle, self._overrides({}), settings.seed)
        self._aggregator = Aggregator(self._strategy, weights)
        self._session = ServerSession(self._aggregator, folder, settings.lasting())
        self._broadcast = folder / "broadcast.pt"
        self._sent: dict[str, Path] = {}
        self._num_samples = sum(count_images(path) for path in self._datalists.values())

    def run(self) -> dict[str, Metrics]:
        """Runs the remaining rounds, then returns test metrics of the global model and of each site's own weights.

        Returns:
            {'global' or name of a site: metrics on the test images of the whole cohort}.
        """
        notes = self._session.notes
        tracker = SimulationTracker(self._folder, self._name, self._parameters(), notes.get("run_id"))
        notes["run_id"] = tracker.run_id
        rounds = read_rounds(self._folder / "rounds.json")[: self._aggregator.round]
        with self._processes() as submit:
            if self._aggregator.round == 0:
                self._measure_losses(submit)
                if self._settings.start != "common" and "start" not in notes:
                    self._start_apart(submit)
            elif len(rounds) < self._aggregator.round:  # stopped between the end of a round and its evaluation
                self._record(rounds, tracker, submit)
            while self._aggregator.rounds_left(self._settings.num_rounds) > 0:
                self._train(submit)
                self._record(rounds, tracker, submit)
            found = self._test(submit)
            self._write_model(submit)
        draw_rounds(rounds, primary_metrics(self._settings.bundle), self._folder / "rounds.png")
        tracker.finish(self._folder / "rounds.json", self._folder / "rounds.png")
        return found

    @property
    def has_one_network(self) -> bool:
        """Whether the global network was trained for all tasks, so that it can be tested beside the sites' own."""
        return is_distilled(self._aggregator.broadcast().weights or {})

    def images_by_task(self) -> dict[str, dict[str, int]]:
        """Returns {site: {task: number of training images with its label}}, known after the first round."""
        return self._aggregator.images_by_task

    def _train(self, submit: _Submit) -> None:
        """Trains the sites whose message is missing, and closes the round.

        Raises:
            RuntimeError: all messages are refused.
        """
        started, session, sent = time.monotonic(), self._session, self._sent or self._write_broadcasts()
        missing = session.missing(self._datalists)
        waiting = {
            submit(spec, worker.train, spec, sent[spec.name]): spec for spec in self._specs if spec.name in missing
        }
        delivered = [spec for spec in self._specs if spec.name not in missing]  # before the simulation was stopped
        num_bytes = sum(_size(read_exchange(spec.folder / MESSAGE)) for spec in delivered)
        for future in as_completed(waiting):
            message = read_exchange(future.result())
            num_bytes += _size(message)
            session.add(message, waiting[future].name)
        if not self._aggregator.clients:
            reasons = "; ".join(f"{site}: {session.refused[site]}" for site in sorted(session.refused))
            raise RuntimeError(
                f"round {self._aggregator.round + 1}: the messages of all sites are refused; correct the cause: "
                f"{reasons}"
            )
        session.notes["last_round"] = {"seconds": time.monotonic() - started, "bytes_sent": num_bytes}
        session.close_round()
        self._sent = {}

    def _record(self, rounds: list[dict[str, Any]], tracker: SimulationTracker, submit: _Submit) -> None:
        """Evaluates the networks after a round, and adds its row to the rounds, their file and the tracked run."""
        started, sent = time.monotonic(), self._write_broadcasts()
        by_site = {spec.name: submit(spec, worker.evaluate_site, spec, sent[spec.name]) for spec in self._specs}
        whole = submit(None, worker.evaluate_cohort, *self._cohort("validation"), self._broadcast)
        trained = self._session.notes["last_round"]
        row = {
            "round": self._aggregator.round,
            "global": whole.result(),
            "sites": {name: future.result() for name, future in by_site.items()},
            "seconds": round(trained["seconds"] + time.monotonic() - started, 1),
            "bytes_sent": trained["bytes_sent"],
            "bytes_broadcast": _size(self._aggregator.broadcast()) * len(self._specs),
        }
        rounds.append(row)
        write_rounds(rounds, self._folder / "rounds.json")
        tracker.log(row)
        self._log(row)

    def _write_broadcasts(self) -> dict[str, Path]:
        """Writes the current global broadcast and each site's; returns {site: path}."""
        write_exchange(self._aggregator.broadcast(), self._broadcast)
        self._sent = {spec.name: spec.folder / "broadcast.pt" for spec in self._specs}
        for site, path in self._sent.items():
            write_exchange(self._session.broadcast(site), path)
        return self._sent

    def _start_apart(self, submit: _Submit) -> None:
        """Trains all sites alone; the server starts from the weights of the largest site.

        Sites that start from weights of their own are aligned with them. The scales of the tasks' losses remain those
        at the common initial weights.
        """
        self._write_broadcasts()
        waiting = [submit(spec, pretrain, spec, self._pretrained[spec.name], self._broadcast) for spec in self._specs]
        for future in waiting:
            future.result()
        largest = largest_site(self._datalists)
        self._aggregator.start_from(load_checkpoint(self._pretrained[largest].path))
        self._session.notes["start"], self._sent = largest, {}
        self._session.save()
        logger.info("%s starts from weights that %s trained alone.", self._name, largest)

    def _measure_losses(self, submit: _Submit) -> None:
        """Adds the initial losses of the sites that have not measured them."""
        sent, missing = self._write_broadcasts(), self._session.unmeasured(self._datalists)
        specs = [spec for spec in self._specs if spec.name in missing]
        waiting = {spec.name: submit(spec, worker.measure_losses, spec, sent[spec.name]) for spec in specs}
        for name, future in waiting.items():
            self._session.add_losses(read_exchange(future.result()), name)
        self._sent = {}

    def _test(self, submit: _Submit) -> dict[str, Metrics]:
        """Returns metrics of the global network and of the sites' own ones, as of the last evaluation."""
        cohort = self._cohort("test")
        whole = submit(None, worker.evaluate_cohort, *cohort, self._broadcast)
        tested = {spec.name: submit(spec, worker.evaluate_cohort, *cohort, spec.folder / MODEL) for spec in self._specs}
        return {"global": whole.result(), **{name: future.result() for name, future in tested.items()}}

    def _write_model(self, submit: _Submit) -> None:
        """Writes the global weights, those of groups, and, if it is asked for, the posterior of a strategy with one."""
        sent = self._aggregator.broadcast().weights
        write_models(sent, self._aggregator.group_weights(), self._folder)
        if not self._settings.posterior or not pick(sent, TensorKind.PRECISION):
            return

        def likelihoods(path: Path) -> list[list[float]]:
            asked = [submit(spec, worker.posterior_likelihood, spec, self._broadcast, path) for spec in self._specs]
            return [future.result() for future in asked]

        network = read_bundle(self._settings.bundle, self._overrides({})).get_parsed_content("network_def")
        provenance = Provenance(len(self._specs), self._aggregator.round, self._num_samples)
        write_posterior(sent, self._strategy.prior_precision, network, provenance, likelihoods, self._folder)

    @contextmanager
    def _processes(self) -> Iterator[_Submit]:
        """Worker processes; each is assigned its sites once, so that it loads only the images of its own sites."""
        count = min(self._settings.num_processes, len(self._specs))
        threads = max(1, torch.get_num_threads() // count)
        context = multiprocessing.get_context("spawn")
        pools = [ProcessPoolExecutor(1, context, start_process, (threads,)) for _ in range(count)]
        home = {spec.name: pools[index % count] for index, spec in enumerate(self._specs)}

        def submit(spec: SiteSpec | None, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
            return (pools[-1] if spec is None else home[spec.name]).submit(function, *arguments)

        try:
            yield submit
        finally:
            for pool in pools:
                pool.shutdown(cancel_futures=True)

    def _spec(self, site: str, datalist: Path) -> SiteSpec:
        settings, folder = self._settings, self._folder / site
        listed = next((each for each in settings.sites if each.name == site), Site())
        overrides = self._overrides({"datalist": config_text(datalist), "output_dir": config_text(folder)})
        return SiteSpec(
            site,
            settings.bundle,
            folder,
            settings.strategy,
            settings.strategy_settings,
            settings.local_epochs,
            {"personal": self.is_personal, "seed": settings.seed, **listed.options},
            # the simulation itself tracks all sites
            overrides | {"train#handlers_with_state": "$[@train#history]"} | dict(listed.overrides),
        )

    def _pretraining(self, index: int, spec: SiteSpec) -> Pretraining:
        settings, folder = self._settings, self._settings.output / "pretrained"
        return Pretraining.of_site(
            spec, self._datalists[spec.name], index, settings.seed, settings.pretrain_epochs, folder
        )

    def _with_own_weights(self, spec: SiteSpec) -> SiteSpec:
        options = {**spec.options, "start_weights": str(self._pretrained[spec.name].path)}
        return dataclasses.replace(spec, options=options)

    def _cohort(self, section: str) -> tuple[Path, dict[str, Any]]:
        """Returns bundle and overrides for evaluation on the whole cohort."""
        lists = {"datalist": config_text(self._data.everything), "output_dir": config_text(self._folder)}
        return self._settings.bundle, self._overrides({**lists, "validate#dataset#data#section": section})

    def _overrides(self, own: Mapping[str, Any]) -> dict[str, Any]:
        settings = self._settings
        common = {"rounds": settings.num_rounds, "local_epochs": settings.local_epochs, "seed": settings.seed}
        return {**common, "image_size": list(settings.input_size), **settings.overrides, **own}

    def _parameters(self) -> dict[str, Any]:
        settings = self._settings
        names = ("num_rounds", "local_epochs", "strategy", "partition", "seed", "start", "pretrain_epochs")
        return {"sites": len(self._specs), **{name: getattr(settings, name) for name in names}}

    def _log(self, row: Mapping[str, Any]) -> None:
        metrics = {"global": row["global"], **row["sites"]}
        scores = "  ".join(f"{name} {found.get(KEY_METRIC, float('nan')):.3f}" for name, found in metrics.items())
        number = row["round"]
        total = number + self._aggregator.rounds_left(self._settings.num_rounds)
        logger.info("%s, round %d/%d  %s: %s  (%.0f s)", self._name, number, total, KEY_METRIC, scores, row["seconds"])


_Submit = Callable[..., "Future[Any]"]


def _size(exchange: Any) -> int:
    """Returns the size of the tensors in bytes."""
    return sum(value.numel() * value.element_size() for value in exchange.weights.values())
