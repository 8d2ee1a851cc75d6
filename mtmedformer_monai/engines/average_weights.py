"""Moving average of the weights, which is validated and saved instead of the weights of the last step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from mtmedformer_monai.engines.checkpointing.training_state import bare


class AverageWeights:
    """Keeps an exponential moving average of a network's weights during training (Polyak and Juditsky, 1992).

    The average follows the weights with a window of `epochs` epochs; until one window has passed, it is the plain mean
    of all steps. In small data sets it varies less from one epoch to the next than the weights themselves, so the
    choice of the best epoch depends less on chance. Give `network` of this object to the evaluator: it is validated,
    and `SaveCheckpoints` saves it. The average is updated after each step of the optimizer, whatever the trainer's
    handlers are; as a handler, it adapts the window to a trainer that accumulates gradients.

    Args:
        network: network that is trained, also inside DistributedDataParallel or `torch.compile`.
        optimizer: of the network.
        epochs: length of the window; 0 turns averaging off, and `network` is then the trained network itself.
        epoch_length: batches per epoch.

    Raises:
        ValueError: if `epochs` is negative.
    """

    def __init__(self, network: nn.Module, optimizer: Optimizer, epochs: float, epoch_length: int) -> None:
        if epochs < 0:
            raise ValueError(f"average_epochs expects 0 (off) or a number of epochs, got {epochs}.")
        self._epochs = epochs
        self._window = max(1.0, epochs * epoch_length)
        self._share = 1.0
        self._trained = network
        self._average = AveragedModel(bare(network), multi_avg_fn=self._move) if epochs else None
        if self._average is not None:
            optimizer.register_step_post_hook(self._add)

    def attach(self, engine: Engine) -> None:
        """Takes the number of optimizer steps per epoch from the trainer (MONAI 1.6: `accumulation_steps`)."""
        steps = -(-engine.state.epoch_length // getattr(engine, "accumulation_steps", 1))
        self._window = max(1.0, self._epochs * steps)

    @property
    def network(self) -> nn.Module:
        """The network with averaged weights."""
        return self._trained if self._average is None else self._average.module

    def state_dict(self) -> dict[str, Any]:
        """Returns the averaged weights and the number of steps behind them."""
        return {} if self._average is None else self._average.state_dict()

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        if self._average is not None:
            self._average.load_state_dict(saved)

    def _add(self, *_: Any) -> None:
        """Adds the weights of the completed step; the first step replaces the initial weights."""
        if self._average is not None:
            self._share = max(1.0 / self._window, 1.0 / (int(self._average.n_averaged) + 1))
            self._average.update_parameters(bare(self._trained))

    def _move(self, average: Sequence[Tensor], weights: Sequence[Tensor], _: Tensor | int) -> None:
        torch._foreach_lerp_(tuple(average), tuple(weights), self._share)
