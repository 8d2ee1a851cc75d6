"""MONAI FL client for any strategy, for our bundles and stock bundles.

It extends MONAI FL's `MonaiAlgo` as follows: trainer and evaluator are built from one config and share network and
images; messages hold copies of the weights; statistics of the data are sent along; an interrupted run does not resume
with other weights; the learning rate schedule spans all rounds; and a client that was killed resumes exactly.
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
from mtmedformer_monai.federated.message import Message, TensorKind, Weights, pick
from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining, Strategy
from mtmedformer_monai.io.atomic_files import load_checkpoint, save_state

from .client_memory import capture_trainer, drop_loaders, reset_optimizer, restore_trainer, seed_each_epoch
from .client_options import ClientOptions
from .extra_rate import use_extra_rate
from .filtered_client import FilteredClient, unfiltered
from .local_training import LocalTrainingHandler
from .loss_scales import fix_initial_losses, measure_initial_losses, split_initial_losses
from .missing_labels import MissingLabels
from .own_weights import groups_of, join_with_own_weights
from .ownership import own
from .personal import personal_weights
from .privacy_budget import PrivacyBudget
from .update_filters import make_filters

_logger = logging.getLogger(__name__)

OVERLAY = "configs/federated.json"
"""Config overlay of a bundle's training for federated learning; applied if the bundle has it."""

MEMORY = "client.pt"
"""File name of a client's state."""


class BayesianMonaiAlgo(MonaiAlgo):
    """Trains from the server's broadcast, and returns terms of the server's sums, such as those of a posterior.

    A round consists of `train(broadcast)` and `get_weights()`; `evaluate(broadcast)` may be called at any time.

    Args:
        bundle_root: folder of a bundle whose trainer is a SupervisedTrainer.
        strategy: the server's strategy, or its name.
        local_epochs: number of epochs per round.
        options: `ClientOptions`, or their values by name.
        settings: settings of a strategy given by name.
        config_train_filename: default train.json, with federated.json if the bundle has it.
        config_evaluate_filename: config of a separate evaluator; default the evaluator of the training config.
        monai: further arguments of MonaiAlgo, such as `train_kwargs` with overrides of the config.
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
        # copies, because MonaiAlgo adds the run's name to them
        kwargs = {name: dict(monai.pop(name, None) or {}) for name in ("train_kwargs", "eval_kwargs")}
        super().__init__(bundle_root=str(bundle_root), local_epochs=local_epochs, **files, **kwargs, **monai)
        self.strategy = strategy
        self.options = options if isinstance(options, ClientOptions) else ClientOptions.from_dict(options or {})
        self.settings = dict(settings or {})
        self._trained_round: int | None = None
        self._joined = not self.options.start_weights
        self._message: Message | None = None
        self._aborted = False

    def initialize(self, extra: dict[str, Any] | None = None) -> None:
        """Builds the trainer and the evaluator.

        Args:
            extra: of MONAI FL, with the client's name and the parent folder of the bundle.
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
        self._missing_labels = MissingLabels(self.trainer, self.ownership)
        self.rule = self._make_rule()
        self._training_handler = LocalTrainingHandler(self.rule, self.ownership)
        self._training_handler.attach(self.trainer)

    def train(self, data: ExchangeObject, extra: dict[str, Any] | None = None) -> None:
        """Trains one round from the server's broadcast, or takes back what was sent if the client leaves.

        If the trained weights are not finite, the update is withheld, whatever the strategy: `get_weights` then returns
        an empty message, and the next round starts from the broadcast with a reset optimizer.

        Args:
            data: returned by `Aggregator.broadcast`.
            extra: passed to the filters.

        Raises:
            ValueError: the client has already trained this round or a later one, so its state does not match the
                server's.
        """
        self._set_cuda_device()
        self._message = None
        broadcast, scales, number = self._receive(data, extra)
        self._check_round(number)
        self.phase = FlPhase.TRAIN
        start = self.rule.receive(broadcast)
        if self.options.leave:
            self.iter_of_start_time = self.trainer.state.iteration
            self._message, self._trained_round = self.rule.withdraw(), number
            return
        fix_initial_losses(self.trainer.loss_function, scales)
        self._load(start)
        if self.options.optimizer == "reset":
            reset_optimizer(self.trainer)
        self._join(broadcast)
        self._training_handler.use(self._missing_labels.begin(self.rule.teaching(), list(scales)))
        if self._run():
            self._message = self._send(self._training_handler.finish())
            self._trained_round = number

    def get_weights(self, extra: dict[str, Any] | None = None) -> ExchangeObject:
        """Returns the message of the last round; repeated calls return the same message.

        Args:
            extra: with MODEL_TYPE, a checkpoint of the bundle is returned, as by MonaiAlgo.

        Raises:
            RuntimeError: no round was completed.
        """
        if ExtraItems.MODEL_TYPE in (extra or {}):
            return super().get_weights(extra)
        self.phase = FlPhase.GET_WEIGHTS
        if self._message is None:
            raise RuntimeError("the client has nothing to send; call train() first and let it complete.")
        executed = self.trainer.state.iteration - self.iter_of_start_time
        statistics = {
            **self.trainer.get_stats(),
            FlStatistics.NUM_EXECUTED_ITERATIONS: executed,
            **self._data_statistics(),
        }
        if self._trained_round is not None:
            statistics[ROUND] = self._trained_round
        exchange = to_exchange(dict(self._message), statistics)
        return self._filtered(exchange, self.post_weight_filters, extra)

    def evaluate(self, data: ExchangeObject, extra: dict[str, Any] | None = None) -> ExchangeObject:
        """Returns metrics of the broadcast weights, or of personal weights, on the client's validation images.

        The training state does not change.

        Args:
            data: returned by `Aggregator.broadcast`.
            extra: passed to the filters.
        """
        self._set_cuda_device()
        if self.evaluator is None:
            raise ValueError("evaluate expects a bundle with validate#evaluator; set config_evaluate_filename.")
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
        """Returns the weights for inference at this client: the broadcast mean, or personal weights if chosen."""
        if not self.options.personal:
            return pick(broadcast, TensorKind.MEAN)
        return personal_weights(self.rule, broadcast, self.options.own_share)

    def measure_losses(self, data: ExchangeObject) -> ExchangeObject:
        """Returns the tasks' initial losses at the broadcast weights, for `Aggregator.add_initial_losses`.

        With filters of updates, no losses are sent, as filters would not see them.
        """
        if self.options.update_filters:
            return to_exchange({}, self._data_statistics())
        broadcast, _, _ = self._receive(data, None)
        self._load(pick(broadcast, TensorKind.MEAN))
        return to_exchange(measure_initial_losses(self.trainer, self.options.loss_batches), self._data_statistics())

    def withdraw(self) -> ExchangeObject:
        """Returns the message that removes this client's factor from the federation, and resets the client.

        It is empty for strategies that leave nothing at the server, such as averaging. A server that screens its
        messages does not compare it with those of other clients (`ScreenedRound`). If the server refuses it or it is
        lost, restore the client from its state before.
        """
        return to_exchange(self.rule.withdraw(), {})

    def get_data_stats(self, extra: dict[str, Any] | None = None) -> ExchangeObject:
        """Returns the number of training images, in total and with a label of each task."""
        self.phase = FlPhase.GET_DATA_STATS
        return self._filtered(ExchangeObject(statistics=self._data_statistics()), self.post_statistics_filters, extra)

    def abort(self, extra: dict[str, Any] | None = None) -> None:
        """Stops the current run after the current batch; the next round starts with a new epoch."""
        self._aborted = True
        for engine in (self.trainer, self.evaluator):
            if engine is not None:
                engine.terminate()

    def save(self, folder: str | Path) -> Path:
        """Writes the client's state atomically and returns the path; call it between rounds."""
        state = {
            "trained_round": self._trained_round,
            "joined": self._joined,
            "rule": self.rule.state_dict(),
            "trainer": capture_trainer(self.trainer),
        }
        path = Path(folder) / MEMORY
        save_state(state, path)
        return path

    def restore(self, folder: str | Path) -> None:
        """Restores the state from `save`, so that training resumes bit for bit on a CPU.

        Filters of updates may have been added or removed since then.

        Raises:
            ValueError: the state belongs to another strategy.
        """
        state = load_checkpoint(Path(folder) / MEMORY)
        self._restore_rule(state["rule"], Path(folder))
        restore_trainer(self.trainer, state["trainer"])
        self._trained_round, self._joined, self._message = state["trained_round"], state["joined"], None

    def _restore_rule(self, state: Mapping[str, Any], folder: Path) -> None:
        filtered = isinstance(self.rule, FilteredClient)
        try:
            self.rule.load_state_dict(state if filtered else unfiltered(state))
        except KeyError as error:
            raise ValueError(
                f"the state in {folder} lacks the entry {error}, which the client's strategy needs; restore the "
                "strategy and the settings with which it was written, or join under another name with an empty folder."
            ) from error

    def _make_rule(self) -> ClientRule:
        strategy = self.strategy
        if isinstance(strategy, str):
            from mtmedformer_monai.federated.strategies import make_strategy

            strategy = make_strategy(strategy, **self.settings)
        rule = strategy.client(groups_of(self._network))
        filters = make_filters(self.options.update_filters)
        budget = PrivacyBudget(**self.options.privacy_budget) if self.options.privacy_budget else None
        return FilteredClient(rule, filters, budget) if filters or budget else rule

    def _receive(
        self, data: ExchangeObject, extra: dict[str, Any] | None
    ) -> tuple[Message, dict[str, float], int | None]:
        """Returns the filtered broadcast, the tasks' initial losses and the round."""
        data = self._filtered(data, self.pre_filters, extra)
        return *split_initial_losses(to_message(data)), round_of(data)

    def _check_round(self, number: int | None) -> None:
        if number is not None and self._trained_round is not None and number <= self._trained_round:
            raise ValueError(
                f"train expects a round after {self._trained_round}, which this client has trained, got {number}; "
                "if the server was restored from a checkpoint, restore the clients from the same round."
            )

    def _load(self, weights: Weights) -> None:
        """Loads weights into the network; other weights are unchanged."""
        unknown = sorted(set(weights) - set(self._network.state_dict()))
        if unknown:
            raise KeyError(f"the client's network has no {unknown[:3]}; build it from the server's config.")
        self._network.load_state_dict(weights, strict=False)

    def _send(self, training: LocalTraining) -> Message:
        """Returns the strategy's message; empty if the training has diverged."""
        if all(bool(torch.isfinite(value).all()) for value in training.weights.values()):
            return self.rule.send(training)
        _logger.warning(
            "Training produced weights that are not finite: this round's update is withheld, and the optimizer is "
            "reset. If this happens again, lower the learning rate."
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
        """Runs the round's epochs; returns whether they were completed without an abort."""
        self._aborted = False
        state = self.trainer.state
        state.iteration = state.epoch * (state.epoch_length or 0)  # an aborted epoch is not resumed
        state.max_epochs = state.epoch + self.local_epochs
        self.iter_of_start_time = state.iteration
        rate = use_extra_rate(self.trainer) if self.rule.is_extra else None
        try:
            self.trainer.run()
        finally:
            if rate is not None:
                rate.remove()
        return not self._aborted

    def _data_statistics(self) -> dict[str, Any]:
        images = len(self.trainer.data_loader.dataset)
        return {FlStatistics.DATA_COUNT: images, IMAGES_BY_TASK: dict(self.ownership.images_by_task)}

    @staticmethod
    def _filtered(exchange: ExchangeObject, filters: Any, extra: dict[str, Any] | None) -> ExchangeObject:
        for each in filters or []:
            exchange = each(exchange, extra or {})
        return exchange
