"""A common scale of the hybrid loss for all clients.

The hybrid loss divides each task's loss by its initial value. If each client measured its own initial values, tasks
would be weighted differently at each client, and neither gradients nor squared gradients could be added. Therefore,
each client measures its losses at the common weights, without an optimizer step, and sends sums and counts. The server
broadcasts each task's median of the clients' means, which remains fixed: a single client, whatever it states, moves it
no further than to the next client's mean where three or more have labels of the task.

Three more settings have to be equal at all clients, by the shared config: the tasks' weights; the balance, which must
be 'fixed' (other balances learn weights from each client's losses); and the weight decay. Weight decay shrinks weights
in each step, at each client, and is not part of the loss. With a strategy that has a prior, which the server counts
once, set `weight_decay` to 0.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from mtmedformer_monai.engines.checkpointing.training_state import bare
from mtmedformer_monai.federated.exchange import check_tasks
from mtmedformer_monai.federated.message import Message, TensorKind, key
from mtmedformer_monai.federated.tensor_sums import LARGEST
from mtmedformer_monai.losses.hybrid import INITIAL_BATCHES, HybridLoss

SUM, COUNT = "loss_sum", "loss_count"
"""Kinds of tensors that a client sends."""

LARGEST_LOSS: Final = 1e6
"""Mean loss of a batch above which a client's initial losses are refused."""

INITIAL = key(TensorKind.SETTING, "initial_loss/")
"""Prefix of the names of the broadcast scales."""

_logger = logging.getLogger(__name__)


class LossScales:
    """The server's side: the clients' sums and counts of initial losses.

    Attributes:
        total: {kind/task: float64 (N,), of the N clients that have labels of the task}.
    """

    def __init__(self) -> None:
        self.total: dict[str, Tensor] = {}

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Adds the losses that one client measured.

        Raises:
            ValueError: tensors other than pairs of sums and counts of losses, or numbers that no losses have. A scale
                below 0 would turn the sign of a task's loss at every client, and a huge one its loss off.
        """
        check_tasks({name.partition("/")[2] for name in terms})
        for name, value in terms.items():
            in_range = value.ndim == 0 and abs(float(value)) <= LARGEST  # not NaN either
            if not name.startswith((f"{SUM}/", f"{COUNT}/")) or not in_range:
                raise ValueError(
                    f"initial losses expect finite numbers up to {LARGEST:g} under {SUM}/ and {COUNT}/, got {name!r}."
                )
            kind, _, task = name.partition("/")
            pair = key(COUNT if kind == SUM else SUM, task)
            if pair not in terms or float(value) < (1.0 if kind == COUNT else 0.0):
                raise ValueError(f"initial losses expect a sum of 0 or more and a count of 1 or more of {task!r}.")
        large = [task for task, mean in _means(terms).items() if float(mean) > LARGEST_LOSS]
        if large:
            raise ValueError(
                f"initial losses expect a mean of at most {LARGEST_LOSS:g}, got a larger one of {large[0]!r}."
            )
        for name, value in terms.items():
            before = self.total.get(name, torch.zeros(0, dtype=torch.float64))
            self.total[name] = torch.cat([before.reshape(-1), value.double().reshape(1)])

    def broadcast(self) -> Message:
        """Returns {setting/initial_loss/task: median of the clients' means} of the tasks that any has labels for."""
        return {f"{INITIAL}{task}": mean.quantile(0.5).float() for task, mean in _means(self.total).items()}


def measure_initial_losses(trainer: Any, num_batches: int) -> Message:
    """Measures the tasks' initial losses over a few training batches, without changing the training.

    Args:
        trainer: a SupervisedTrainer; the result is empty unless its loss is a `HybridLoss`.
        num_batches: maximum number of batches.
    """
    if not isinstance(trainer.loss_function, HybridLoss):
        return {}
    batches = (
        trainer.prepare_batch(batch, trainer.state.device, False)
        for _, batch in zip(range(num_batches), trainer.data_loader, strict=False)
    )
    network = bare(trainer.network)
    return loss_terms(trainer.loss_function, network, lambda image: trainer.inferer(image, network), batches)


@torch.no_grad()
def loss_terms(
    loss: HybridLoss,
    network: nn.Module,
    predict: Callable[[Tensor], Mapping[str, Tensor]],
    batches: Iterable[tuple[Tensor, Mapping[str, Tensor]]],
) -> Message:
    """Returns sums and counts of the tasks' losses over batches, in evaluation mode.

    Args:
        loss: hybrid loss of the tasks; it does not change.
        network: used by `predict`; its mode is restored.
        predict: maps an image to outputs.
        batches: pairs of image and targets.
    """
    terms: Message = {}
    modes = {module: module.training for module in (network, loss)}
    network.eval(), loss.eval()
    for image, targets in batches:
        loss(predict(image), targets)
        for task, value in loss.last.items():
            if bool(torch.isfinite(value)):
                _add(terms, key(SUM, task), value)
                _add(terms, key(COUNT, task), torch.ones(()))
    for module, mode in modes.items():
        module.train(mode)
    return terms


def split_initial_losses(broadcast: Mapping[str, Tensor]) -> tuple[Message, dict[str, float]]:
    """Splits a broadcast into the message without scales, and {task: initial loss}."""
    scales = {name.removeprefix(INITIAL): float(value) for name, value in broadcast.items() if name.startswith(INITIAL)}
    return {name: value for name, value in broadcast.items() if not name.startswith(INITIAL)}, scales


def fix_initial_losses(loss: Any, scales: Mapping[str, float]) -> None:
    """Fixes the initial losses of a hybrid loss; tasks without a label in the federation are not scaled.

    Args:
        loss: of the trainer; ignored unless it is a `HybridLoss`.
        scales: {task: initial loss}; if empty, the loss measures its own values, with a warning.
    """
    if not isinstance(loss, HybridLoss) or not loss.normalize:
        return
    if not scales:
        if bool((loss.num_seen < INITIAL_BATCHES).any()):
            _logger.warning(
                "The server broadcasts no initial losses, so each client scales its tasks by its own values. Call "
                "measure_losses() at the clients before the first round, or set `initial` of the loss."
            )
        return
    values = [scales.get(task.name, float("nan")) for task in loss.tasks]
    loss.initial.copy_(torch.tensor(values))
    loss.num_seen.fill_(INITIAL_BATCHES)


def _means(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns {task: sums divided by counts}."""
    tasks = [name.removeprefix(f"{SUM}/") for name in terms if name.startswith(f"{SUM}/")]
    return {task: terms[key(SUM, task)] / terms[key(COUNT, task)] for task in tasks}


def _add(terms: Message, name: str, value: Tensor) -> None:
    terms[name] = terms.get(name, torch.zeros(())) + value.detach().float().cpu()
