"""What a system of sites and a server is: rounds that train it, a network to evaluate, and a state to go on from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mtmedformer_monai.engines.prepare_batch import PrepareMultiTaskBatch
from mtmedformer_monai.federated.client.task_tensors import tasks_of_tensors
from mtmedformer_monai.losses.hybrid import HybridLoss
from mtmedformer_monai.networks.mtmedformer import MTMedFormer

from .channel import Traffic

Batches = Iterable[Mapping[str, Any]]
"""Collated batches with `image` and a target of each task, as of a bundle's `DataLoader`; anew each time."""


@dataclass(frozen=True)
class Site:
    """A site's data.

    Attributes:
        name: of the site.
        batches: of its training images.
    """

    name: str
    batches: Batches


def default_optimizer(parameters: Iterable[nn.Parameter]) -> Optimizer:
    """AdamW, as the bundles train with."""
    return torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.05)


@dataclass(frozen=True)
class LocalSettings:
    """How sites and server train.

    Attributes:
        loss: of all tasks; one for all sites, so it has to be fixed: weights balanced by site would make the sites'
            gradients incommensurable.
        make_optimizer: from parameters; a site's and the server's each have their own.
        epochs: over a site's batches, a round.
    """

    loss: HybridLoss
    make_optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = default_optimizer
    epochs: int = 1

    def __post_init__(self) -> None:
        """Checks that nothing about the loss is learned at a site.

        Raises:
            ValueError: a loss with parameters or with scales to be measured, or no epoch.
        """
        if list(self.loss.parameters()):
            raise ValueError("loss expects balance='fixed', got one with parameters, which would differ by site.")
        if self.loss.normalize and bool(self.loss.initial.isnan().any()):
            raise ValueError(
                "loss expects the tasks' initial losses, which all sites share; give HybridLoss initial={...} or "
                "normalize=False."
            )
        if self.epochs < 1:
            raise ValueError(f"epochs expects 1 or more, got {self.epochs}.")

    def tasks_of(self, network: MTMedFormer) -> dict[str, frozenset[str]]:
        """{parameter or buffer: tasks that it serves}."""
        return tasks_of_tensors(network, [task.name for task in self.loss.tasks])

    def prepared(self, batches: Batches) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Image (B, 1, H, W) and targets of each batch."""
        prepare = PrepareMultiTaskBatch(self.loss.tasks, keep_meta=False)
        for batch in batches:
            yield prepare(batch)


class SplitSystem(ABC):
    """A system of split or task-agnostic federated learning, simulated in one process.

    Attributes:
        losses: {site: mean loss over its batches} of the last round.
    """

    def __init__(self) -> None:
        self.losses: dict[str, float] = {}

    @abstractmethod
    def round(self, sites: Sequence[Site]) -> Traffic:
        """One round of all these sites; a site that is new joins.

        Returns:
            What crossed.
        """

    @abstractmethod
    def network(self, site: str = "") -> nn.Module:
        """A copy of the network as it stands, to evaluate: image (B, 1, H, W) to {task: output}.

        Args:
            site: whose own parts to use; '' averages those of all sites. It costs no traffic, and changes nothing.

        Raises:
            KeyError: a site that took part in no round.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """All of it, what sites know included: nested dicts, lists, tensors and numbers; copied."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state, of a system built with the same arguments."""
