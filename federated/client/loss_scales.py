"""One scale of the hybrid loss for all sites.

The hybrid loss divides each task's loss by its initial value. If each site measured its own, a task would weigh more at
one site than at another, and gradients, squared gradients and what is made of them could not be added. So each site
measures at the common weights, without a step, and tells sums and counts; the server broadcasts their quotients; from
then on they stay.

Three more things have to be alike at all sites, by the config that they share: the tasks' weights; the balance, which
has to be 'fixed' (the others learn weights from each site's own losses); and the weight decay. It shrinks weights in
each step, at each site anew, and is no part of the loss: with a strategy that has a prior, which the server counts
once, set `weight_decay` to 0.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mtmedformer_monai.engines.checkpointing.training_state import bare
from mtmedformer_monai.federated.strategy import Message, TensorKind, key
from mtmedformer_monai.losses.hybrid import INITIAL_BATCHES, HybridLoss

SUM, COUNT = "loss_sum", "loss_count"
"""Kinds of tensors that a site tells."""

INITIAL = key(TensorKind.SETTING, "initial_loss/")
"""What names of the broadcast scales begin with."""

_logger = logging.getLogger(__name__)


class LossScales:
    """The server's side: sums of what the sites tell."""

    def __init__(self) -> None:
        self.total: dict[str, Tensor] = {}

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Adds what one site measured.

        Raises:
            ValueError: something else than sums and counts of losses, or not finite.
        """
        for name, value in terms.items():
            if not name.startswith((f"{SUM}/", f"{COUNT}/")) or value.ndim > 0 or not bool(torch.isfinite(value)):
                raise ValueError(f"initial losses expect finite numbers under {SUM}/ and {COUNT}/, got {name!r}.")
        for name, value in terms.items():
            self.total[name] = self.total.get(name, torch.zeros((), dtype=torch.float64)) + value.double()

    def broadcast(self) -> Message:
        """{setting/initial_loss/task: mean}, of the tasks that any site has a label of."""
        tasks = [name.removeprefix(f"{SUM}/") for name in self.total if name.startswith(f"{SUM}/")]
        means = {task: self.total[key(SUM, task)] / self.total[key(COUNT, task)] for task in tasks}
        return {f"{INITIAL}{task}": mean.float() for task, mean in means.items()}


def measure_initial_losses(trainer: Any, num_batches: int) -> Message:
    """Terms of the tasks' initial losses over a few training batches; nothing of the training changes.

    Args:
        trainer: a SupervisedTrainer; another loss than a `HybridLoss` has no scales, and gives nothing.
        num_batches: at most.
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
    """Sums and counts of the tasks' losses over batches, in evaluation mode.

    Args:
        loss: whose tasks are measured; it stays as it is.
        network: of `predict`; its mode is restored.
        predict: image to outputs.
        batches: of image and targets.
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
    """A broadcast without the scales, and {task: initial loss}."""
    scales = {name.removeprefix(INITIAL): float(value) for name, value in broadcast.items() if name.startswith(INITIAL)}
    return {name: value for name, value in broadcast.items() if not name.startswith(INITIAL)}, scales


def fix_initial_losses(loss: Any, scales: Mapping[str, float]) -> None:
    """Sets the initial losses of a hybrid loss for good; a task that the federation has no label of counts plainly.

    Args:
        loss: of the trainer; another than a `HybridLoss` has none.
        scales: {task: initial loss}; empty leaves the loss to measure its own, with a warning.
    """
    if not isinstance(loss, HybridLoss) or not loss.normalize:
        return
    if not scales:
        if bool((loss.num_seen < INITIAL_BATCHES).any()):
            _logger.warning(
                "The server broadcasts no initial losses: the site's tasks are weighed by its own. Let the sites "
                "measure_losses() before the first round, or give the loss `initial`."
            )
        return
    values = [scales.get(task.name, float("nan")) for task in loss.tasks]
    loss.initial.copy_(torch.tensor(values))
    loss.num_seen.fill_(INITIAL_BATCHES)


def _add(terms: Message, name: str, value: Tensor) -> None:
    terms[name] = terms.get(name, torch.zeros(())) + value.detach().float().cpu()
