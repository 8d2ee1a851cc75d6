"""A site of a federation as MONAI FL's client: any strategy, on our bundles and on stock ones.

MONAI FL's `MonaiAlgo` is the base, and this is what is otherwise here: trainer and evaluator are built from one config
and share network and images; what is sent are copies; the data's statistics are told; an interrupted run doesn't go on
with other weights; the schedule runs over all rounds; and a site that is killed goes on exactly where it was.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems, FlPhase, FlStatistics
from monai.fl.utils.exchange_object import ExchangeObject
from torch import Tensor

from mtmedformer_monai.engines.checkpointing.training_state import bare
from mtmedformer_monai.federated.exchange import IMAGES_BY_TASK, ROUND, round_of, to_exchange, to_message
from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining, Message, Strategy, TensorKind, Weights, pick
from mtmedformer_monai.io.atomic_files import load_checkpoint, save_checkpoint

from .client_memory import capture_trainer, drop_loaders, reset_optimizer, restore_trainer, seed_each_epoch
from .client_options import ClientOptions
from .local_training import LocalTrainingHandler
from .loss_scales import fix_initial_losses, measure_initial_losses, split_initial_losses
from .own_weights import groups_of, join_with_own_weights
from .ownership import own
from .personal import personal_weights

_logger = logging.getLogger(__name__)

OVERLAY = "configs/federated.json"
"""What a bundle's training needs otherwise in a federation; used where the bundle has it."""

MEMORY = "client.pt"
"""File of a site's memory."""


class BayesianMonaiAlgo(MonaiAlgo):
    """Trains where the server's broadcast says, and returns terms of the server's sums: a posterior's, for one.

    A round: `train(broadcast)`, `get_weights()`; `evaluate(broadcast)` at any time.

    Args:
        bundle_root: of a bundle whose trainer is a SupervisedTrainer.
        strategy: the same as the server's, or its name.
        local_epochs: in a round.
        options: `ClientOptions`, or their values by name.
        settings: of a strategy that is given by name.
        config_train_filename: default train.json, and federated.json where the bundle has it.
        config_evaluate_filename: of an evaluator of its own; default that of the training's config.
        monai: other arguments of MonaiAlgo, such as `train_kwargs` with what to override in the config.
    """

    config_train_filename: Any
    train_kwargs: dict[str, Any]
    evaluator: Any

    def __init__(
        self,
        bundle_root: str,
        strategy: Strategy | str,
        local_epochs: int = 1,
        options: ClientOptions | Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        config_train_filename: str | list[str] = "default",
        config_evaluate_filename: str | list[str] | None = None,
        **monai: Any,
    ) -> None:
        files = {"config_train_filename": config_train_filename, "config_evaluate_filename": config_evaluate_filename}
        # copies: MonaiAlgo writes the run's name into them
        kwargs = {name: dict(monai.pop(name, None) or {}) for name in ("train_kwargs", "eval_kwargs")}
        super().__init__(bundle_root=str(bundle_root), local_epochs=local_epochs, **files, **kwargs, **monai)
        self.strategy = strategy
        self.options = options if isinstance(options, ClientOptions) else ClientOptions(**(options or {}))
        self.settings = dict(settings or {})
        self._trained_round: int | None = None
        self._joined = not self.options.start_weights
        self._message: Message | None = None
        self._aborted = False

    def initialize(self, extra: dict[str, Any] | None = None) -> None:
        """Builds trainer and evaluator.

        Args:
            extra: MONAI FL's, with the client's name and the root of the bundle's path.
        """
        if self.config_train_filename == "default":
            overlay = Path((extra or {}).get(ExtraItems.APP_ROOT, "")) / self.bundle_root / OVERLAY
            self.config_train_filename = ["configs/train.json", *([OVERLAY] if overlay.is_file() else [])]
            if overlay.is_file():
                self.train_kwargs = {"local_epochs": self.local_epochs, **self.train_kwargs}
        super().initialize(extra)
        if self.evaluator is None:
            self.evaluator = self.train_workflow.evaluator
        if self.disable_ckpt_loading:
            drop_loaders(self.trainer, self.evaluator)
        self._network = bare(self.trainer.network)
        seed_each_epoch(self.trainer, self.options.seed)
        self.ownership = own(self.trainer)
        self.rule = self._make_rule()
        self._training_handler = LocalTrainingHandler(self.rule, self.ownership)
        self._training_handler.attach(self.trainer)

    def train(self, data: ExchangeObject, extra: dict[str, Any] | None = None) -> None:
        """Trains a round from the server's broadcast.

        A training that ends in numbers that are not finite is withheld, whatever the strategy: `get_weights` then sends
        nothing, and the next round starts from the broadcast with fresh moments.

        Args:
            data: of `Aggregator.broadcast`.
            extra: for the filters.

        Raises:
            ValueError: the site has trained this round or a later one: its memory and the server's don't fit.
        """
        self._set_cuda_device()
        self._message = None
        broadcast, scales, number = self._receive(data, extra)
        self._check_round(number)
        self.phase = FlPhase.TRAIN
        fix_initial_losses(self.trainer.loss_function, scales)
        self._load(self.rule.receive(broadcast))
        if self.options.optimizer == "reset":
            reset_optimizer(self.trainer)
        self._join(broadcast)
        if self._run():
            self._message = self._send(self._training_handler.finish())
            self._trained_round = number

    def get_weights(self, extra: dict[str, Any] | None = None) -> ExchangeObject:
        """What the last round brought; asked again, the same.

        Args:
            extra: with MODEL_TYPE, a checkpoint of the bundle, as MonaiAlgo gives it.

        Raises:
            RuntimeError: no round was trained to its end.
        """
        if ExtraItems.MODEL_TYPE in (extra or {}):
            return super().get_weights(extra)
        self.phase = FlPhase.GET_WEIGHTS
        if self._message is None:
            raise RuntimeError("the site has nothing to send; call train() first, and let it end.")
        executed = self.trainer.state.iteration - self.iter_of_start_time
        told = {**self.trainer.get_stats(), FlStatistics.NUM_EXECUTED_ITERATIONS: executed, **self._data_statistics()}
        if self._trained_round is not None:
            told[ROUND] = self._trained_round
        exchange = to_exchange(dict(self._message), told)
        return self._filtered(exchange, self.post_weight_filters, extra)

    def evaluate(self, data: ExchangeObject, extra: dict[str, Any] | None = None) -> ExchangeObject:
        """Figures of the broadcast weights, or of personal ones, on the site's validation images.

        Nothing of the site's training changes.

        Args:
            data: of `Aggregator.broadcast`.
            extra: for the filters.
        """
        self._set_cuda_device()
        if self.evaluator is None:
            raise ValueError("evaluate expects a bundle with validate#evaluator; name the file that defines it.")
        broadcast, scales, _ = self._receive(data, extra)
        self.phase = FlPhase.EVALUATE
        if scales:
            fix_initial_losses(self.trainer.loss_function, scales)
        network = bare(self.evaluator.network)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict({**before, **self.inference_weights(broadcast)})
        try:
            self.evaluator.run(self.trainer.state.epoch + 1)
        finally:
            network.load_state_dict(before)
        found = ExchangeObject(metrics=dict(self.evaluator.state.metrics))
        return self._filtered(found, self.post_evaluate_filters, extra)

    def inference_weights(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """The weights that this site infers with: the broadcast mean, or personal ones by option."""
        if not self.options.personal:
            return pick(broadcast, TensorKind.MEAN)
        return personal_weights(self.rule, broadcast, self.options.own_share)

    def measure_losses(self, data: ExchangeObject) -> ExchangeObject:
        """Terms of the tasks' initial losses at the broadcast weights, for the server's `add_initial_losses`."""
        broadcast, _, _ = self._receive(data, None)
        self._load(pick(broadcast, TensorKind.MEAN))
        return to_exchange(measure_initial_losses(self.trainer, self.options.loss_batches), self._data_statistics())

    def withdraw(self) -> ExchangeObject:
        """What takes this site's factor out of the federation, for the server to add; the site starts anew.

        Empty where the strategy leaves nothing with the server, as averages do.
        """
        return to_exchange(self.rule.withdraw(), {})

    def get_data_stats(self, extra: dict[str, Any] | None = None) -> ExchangeObject:
        """How many training images the site has, in all and with a label of each task."""
        self.phase = FlPhase.GET_DATA_STATS
        return self._filtered(ExchangeObject(statistics=self._data_statistics()), self.post_statistics_filters, extra)

    def abort(self, extra: dict[str, Any] | None = None) -> None:
        """Ends the run at hand after its batch; the next round starts a new epoch, not the rest of this one."""
        self._aborted = True
        for engine in (self.trainer, self.evaluator):
            if engine is not None:
                engine.terminate()

    def save(self, folder: str | Path) -> Path:
        """Writes all that the site has to remember, atomically; call it between rounds. Returns the path."""
        state = {
            "trained_round": self._trained_round,
            "joined": self._joined,
            "rule": self.rule.state_dict(),
            "trainer": capture_trainer(self.trainer),
        }
        path = Path(folder) / MEMORY
        save_checkpoint(state, path)
        return path

    def restore(self, folder: str | Path) -> None:
        """Goes on from what `save` wrote: what follows equals what would have followed, bit for bit on a CPU."""
        state = load_checkpoint(Path(folder) / MEMORY)
        restore_trainer(self.trainer, state["trainer"])
        self.rule.load_state_dict(state["rule"])
        self._trained_round, self._joined, self._message = state["trained_round"], state["joined"], None

    def _make_rule(self) -> ClientRule:
        strategy = self.strategy
        if isinstance(strategy, str):
            from mtmedformer_monai.federated.strategies import make_strategy

            strategy = make_strategy(strategy, **self.settings)
        return strategy.client(groups_of(self._network))

    def _receive(
        self, data: ExchangeObject, extra: dict[str, Any] | None
    ) -> tuple[Message, dict[str, float], int | None]:
        """The broadcast behind the filters, the tasks' initial losses, and the round."""
        data = self._filtered(data, self.pre_filters, extra)
        return *split_initial_losses(to_message(data)), round_of(data)

    def _check_round(self, number: int | None) -> None:
        if number is not None and self._trained_round is not None and number <= self._trained_round:
            raise ValueError(
                f"train expects a round after {self._trained_round}, which this site has trained, got {number}; "
                "where the server went back to a checkpoint, restore the sites from the same round."
            )

    def _load(self, weights: Weights) -> None:
        """Puts weights into the network; those that are not among them stay."""
        unknown = sorted(set(weights) - set(self._network.state_dict()))
        if unknown:
            raise KeyError(f"the site's network has no {unknown[:3]}; build it from the server's config.")
        self._network.load_state_dict(weights, strict=False)

    def _send(self, training: LocalTraining) -> Message:
        """What the rule tells of a training; nothing of one that has diverged."""
        if all(bool(torch.isfinite(value).all()) for value in training.weights.values()):
            return self.rule.send(training)
        _logger.warning(
            "Training gave weights that are not finite: this round's update is withheld, and the optimizer starts "
            "afresh. If this comes again, lower the learning rate."
        )
        reset_optimizer(self.trainer)
        return {}

    def _join(self, broadcast: Message) -> None:
        if self._joined:
            return
        reference, precision = pick(broadcast, TensorKind.MEAN), pick(broadcast, TensorKind.PRECISION)
        join_with_own_weights(self.options.start_weights, self.trainer, self._network, reference, precision)
        self._joined = True

    def _run(self) -> bool:
        """The round's epochs, after those of earlier rounds; whether nobody aborted them."""
        self._aborted = False
        state = self.trainer.state
        state.iteration = state.epoch * (state.epoch_length or 0)  # an aborted epoch is not gone on with
        state.max_epochs = state.epoch + self.local_epochs
        self.iter_of_start_time = state.iteration
        self.trainer.run()
        return not self._aborted

    def _data_statistics(self) -> dict[str, Any]:
        images = len(self.trainer.data_loader.dataset)
        return {FlStatistics.DATA_COUNT: images, IMAGES_BY_TASK: dict(self.ownership.images_by_task)}

    @staticmethod
    def _filtered(exchange: ExchangeObject, filters: Any, extra: dict[str, Any] | None) -> ExchangeObject:
        for each in filters or []:
            exchange = each(exchange, extra or {})
        return exchange
