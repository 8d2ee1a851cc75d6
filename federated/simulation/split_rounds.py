"""Rounds of a split-learning baseline on the same sites, in this process."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.utils import set_determinism
from torch import nn

from mtmedformer_monai.engines.handlers.seeding import seed_epoch
from mtmedformer_monai.engines.prepare_batch import PrepareMultiTaskBatch
from mtmedformer_monai.federated.client.loss_scales import LossScales, loss_terms, split_initial_losses
from mtmedformer_monai.federated.server_session import FORMAT, check_state
from mtmedformer_monai.federated.split.channel import DOWN, UP
from mtmedformer_monai.federated.split.factory import make_split_system
from mtmedformer_monai.federated.split.system import LocalSettings, Site
from mtmedformer_monai.io.atomic_files import load_checkpoint, save_state
from mtmedformer_monai.io.config_text import config_text
from mtmedformer_monai.losses.hybrid import INITIAL_BATCHES, HybridLoss
from mtmedformer_monai.tasks.base import Task

from .bundle_parts import Evaluation, primary_metrics, read_bundle
from .cohort import FederatedData
from .history import KEY_METRIC, Metrics, Round, draw_rounds, read_rounds, write_rounds
from .settings import SimulationSettings
from .tracking import SimulationTracker

logger = logging.getLogger("mtmedformer")

PLAIN = {"network_def#encoder": {"_target_": "mtmedformer_monai.networks.PlainViT"}, "network_def#detail": False}
"""Overrides for systems whose server needs tokens of one resolution: they replace the bundle's encoder and stem."""

NEEDS_PLAIN = ("p_festa", "fesvibs")

PRETRAINED = "task_agnostic"
"""System whose first rounds pretrain, and whose heads are trained in the others."""


def with_pretraining_rounds(name: str, settings: Mapping[str, Any], num_rounds: int) -> dict[str, Any]:
    """Returns settings of a system; half of all rounds pretrain by default, if any do.

    Raises:
        ValueError: no round is left for the heads.
    """
    if name != PRETRAINED:
        return dict(settings)
    found = {"pretraining_rounds": num_rounds // 2, **settings}
    if num_rounds < 2 or int(found["pretraining_rounds"]) >= num_rounds:
        raise ValueError(
            f"{name} expects 2 rounds or more, and fewer pretraining_rounds than rounds: heads are trained after "
            f"pretraining; got {num_rounds} rounds and {found['pretraining_rounds']} of pretraining. Increase --rounds."
        )
    return found


class SplitSimulation:
    """One split-learning baseline, which resumes after its last completed round; files as in `Simulation`.

    Args:
        name: of the system, as in `make_split_system`.
        settings: of the simulation; `strategy_settings` are those of the system.
        data: datalists of all sites.
        folder: for its files.
    """

    def __init__(self, name: str, settings: SimulationSettings, data: FederatedData, folder: Path) -> None:
        self._name, self._settings, self._data, self._folder = name, settings, data, folder
        self._overrides = {
            "seed": settings.seed,
            "image_size": list(settings.input_size),
            "output_dir": config_text(folder),
            **(PLAIN if name in NEEDS_PLAIN else {}),
            **settings.overrides,
        }
        parser = self._read({})
        set_determinism(settings.seed)
        network, tasks = parser.get_parsed_content("network_def"), parser.get_parsed_content("tasks")
        self._sites = [Site(site, self._loader(path)) for site, path in data.sites.items()]
        for index, site in enumerate(self._sites):
            seed_epoch(site.batches, settings.seed, 0, index)
        loss = scaled_loss(network, tasks, self._sites)
        local = LocalSettings(loss, epochs=settings.local_epochs)
        own = with_pretraining_rounds(name, settings.strategy_settings, settings.num_rounds)
        self._system = make_split_system(name, network, local, **own)

    def run(self) -> dict[str, Metrics]:
        """Runs the remaining rounds, then returns test metrics.

        Returns:
            {'global' or name of a site: metrics on the test images of the whole cohort}.
        """
        rounds = read_rounds(self._folder / "rounds.json")
        run_id = self._restore(rounds)
        tracker = SimulationTracker(self._folder, self._name, {"system": self._name}, run_id)
        validation = self._evaluation("validation")
        for number in range(len(rounds) + 1, self._settings.num_rounds + 1):
            rounds.append(self._round(number, validation))
            state = {"format": FORMAT, "settings": self._settings.lasting()}
            state |= {"round": number, "run_id": tracker.run_id, "system": self._system.state_dict()}
            save_state(state, self._state_path)
            write_rounds(rounds, self._folder / "rounds.json")
            tracker.log(rounds[-1])
        draw_rounds(rounds, primary_metrics(self._settings.bundle), self._folder / "rounds.png")
        tracker.finish(self._folder / "rounds.json", self._folder / "rounds.png")
        test = self._evaluation("test")
        networks = {
            "global": self._system.network(),
            **{site.name: self._system.network(site.name) for site in self._sites},
        }
        return {name: test.run_network(network) for name, network in networks.items()}

    def _round(self, number: int, validation: Evaluation) -> dict[str, Any]:
        started = time.monotonic()
        for index, site in enumerate(self._sites):
            seed_epoch(site.batches, self._settings.seed, number, index)
        traffic = self._system.round(self._sites)
        row: Round = {
            "round": number,
            "global": validation.run_network(self._system.network()),
            "sites": {},
            "seconds": round(time.monotonic() - started, 1),
            "bytes_sent": traffic.total(direction=UP),
            "bytes_broadcast": traffic.total(direction=DOWN),
        }
        logger.info("%s, round %d/%d  %s %.3f  (%.0f s)", self._name, number, self._settings.num_rounds, KEY_METRIC,
                    row["global"][KEY_METRIC], row["seconds"])  # fmt: skip
        return row

    def _restore(self, rounds: list[dict[str, Any]]) -> str | None:
        if not self._state_path.is_file():
            rounds.clear()
            return None
        saved = load_checkpoint(self._state_path)
        check_state(saved, self._settings.lasting(), self._folder)
        self._system.load_state_dict(saved["system"])
        del rounds[saved["round"] :]
        return str(saved["run_id"])

    @property
    def _state_path(self) -> Path:
        return self._folder / "server.pt"

    def _read(self, own: Mapping[str, Any]) -> Any:
        return read_bundle(self._settings.bundle, {**self._overrides, **own})

    def _loader(self, datalist: Path) -> Any:
        return self._read({"datalist": config_text(datalist)}).get_parsed_content("train#dataloader")

    def _evaluation(self, section: str) -> Evaluation:
        lists = {"datalist": config_text(self._data.everything), "validate#dataset#data#section": section}
        return Evaluation(self._settings.bundle, {**self._overrides, **lists})


def scaled_loss(network: nn.Module, tasks: Sequence[Task], sites: Sequence[Site]) -> HybridLoss:
    """Returns the hybrid loss with a common scale: mean initial losses over the sites' first batches.

    Args:
        network: initial network.
        tasks: of the network; tasks without a label at any site are not scaled.
        sites: whose batches are measured.
    """
    scales, prepare = LossScales(), PrepareMultiTaskBatch(tasks, keep_meta=False)
    for site in sites:
        first = zip(range(max(1, INITIAL_BATCHES // len(sites))), site.batches, strict=False)
        scales.add(
            loss_terms(HybridLoss(tasks, normalize=False), network, network, (prepare(each) for _, each in first))
        )
    _, initial = split_initial_losses(scales.broadcast())
    return HybridLoss(tasks, initial={task.name: initial.get(task.name, 1.0) for task in tasks})
