"""Interface of split-learning systems: rounds of training, a network to evaluate, and a state to resume from."""

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
"""Collated batches with `image` and a target for each task, such as a bundle's `DataLoader`; iterated repeatedly."""


@dataclass(frozen=True)
class Site:
    """Data of a site.

    Attributes:
        name: of the site.
        batches: of its training images.
    """

    name: str
    batches: Batches


def default_optimizer(parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Returns AdamW with the settings of the bundles."""
    return torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.05)


@dataclass(frozen=True)
class LocalSettings:
    """Training settings of sites and server.

    Attributes:
        loss: of all tasks, common to all sites. It must be fixed: if each site balanced its tasks, the sites' gradients
            would not be comparable.
        make_optimizer: creates an optimizer for parameters; each site and the server have their own.
        epochs: number of epochs over a site's batches per round.
    """

    loss: HybridLoss
    make_optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = default_optimizer
    epochs: int = 1

    def __post_init__(self) -> None:
        """Checks that no part of the loss is learned at a site.

        Raises:
            ValueError: the loss has parameters or scales to be measured, or epochs is below 1.
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
        """Returns {parameter or buffer: tasks that it serves}."""
        return tasks_of_tensors(network, [task.name for task in self.loss.tasks])

    def prepared(self, batches: Batches) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Yields image (B, 1, H, W) and targets of each batch."""
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
        """Runs one round with these sites; new sites join.

        Returns:
            The traffic of the round.
        """

    @abstractmethod
    def network(self, site: str = "") -> nn.Module:
        """Returns a copy of the current network for evaluation: image (B, 1, H, W) to {task: output}.

        Args:
            site: whose own parts to use; '' averages those of all sites, without traffic and without changing any of
                them.

        Raises:
            KeyError: the site has not taken part in any round.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Returns a copy of the complete state, including the sites': nested dicts, lists, tensors and numbers."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resumes from the state of a system with the same constructor arguments."""
