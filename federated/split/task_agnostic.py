"""Task-agnostic federated learning: one encoder learned from images alone, then each site its own heads.

Yao, Nguyen, Srivastava and Ambite, "Task-Agnostic Federated Learning", 2024 (arXiv 2406.17235): masked image modeling
by federated averaging, so that neither server nor other sites learn which tasks a site has, then light adaptation at
each site. What differs is told in docs/split_learning.md.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from mtmedformer_monai.federated.strategies.norms import norm_parameters
from mtmedformer_monai.federated.strategy import Weights
from mtmedformer_monai.keys import IMAGE
from mtmedformer_monai.losses.hybrid import HybridLoss
from mtmedformer_monai.networks.mtmedformer import MTMedFormer
from mtmedformer_monai.tasks.reconstruction import ReconstructionTask

from .channel import DOWN, UP, Channel, CrossingKind, Observer, Traffic
from .head_learner import HeadLearner
from .hide_batch import hide_batch
from .system import LocalSettings, Site, SplitSystem
from .unify import mean_weights

ADAPTED: Final = ("frozen", "norms", "all")
"""What of the encoder goes on learning at a site: nothing, scales and shifts of its norms, or all of it."""


class TaskAgnostic(SplitSystem):
    """Pretraining rounds average the encoder and a decoder of hidden pixels; later rounds send nothing.

    Args:
        network: to start from; its encoder is pretrained.
        settings: of the training.
        pretraining_rounds: how many.
        adapt: of `ADAPTED`.
        hidden: side of a hidden patch in pixels, and the share of patches to hide.
        seed: of the patches to hide.
        observer: sees all that crosses.

    Raises:
        ValueError: no pretraining round, or another way to adapt.
    """

    def __init__(
        self,
        network: MTMedFormer,
        settings: LocalSettings,
        pretraining_rounds: int = 5,
        adapt: str = "frozen",
        hidden: tuple[int, float] = (32, 0.6),
        seed: int = 0,
        observer: Observer | None = None,
    ) -> None:
        super().__init__()
        if pretraining_rounds < 1:
            raise ValueError(f"pretraining_rounds expects 1 or more, got {pretraining_rounds}.")
        if adapt not in ADAPTED:
            raise ValueError(f"adapt expects one of {', '.join(ADAPTED)}, got {adapt!r}.")
        self._settings, self._rounds, self._adapt = settings, pretraining_rounds, adapt
        self._hidden, self._seed, self._observer = hidden, seed, observer
        self._network = copy.deepcopy(network)
        self._puzzle = ReconstructionTask()
        self._pretraining = MTMedFormer(self._network.encoder, [self._puzzle])
        self._learners: dict[str, HeadLearner] = {}
        self._number = 0

    def round(self, sites: Sequence[Site]) -> Traffic:
        """Pretraining first, then heads."""
        traffic, self._number = Traffic(), self._number + 1
        channels = [Channel(site.name, traffic, self._observer) for site in sites]
        if self._number <= self._rounds:
            self._pretrain(sites, channels)
        else:
            self.losses = {
                site.name: self._learner(site.name, channel).train(site.batches)
                for site, channel in zip(sites, channels, strict=True)
            }
        return traffic

    def network(self, site: str = "") -> nn.Module:
        """The shared encoder with a site's heads, or with the mean of the heads of the sites that share a task."""
        if site and site not in self._learners:
            raise KeyError(f"no site {site!r} trained heads yet, only {sorted(self._learners)}.")
        if site:
            return copy.deepcopy(self._learners[site].network)
        whole = copy.deepcopy(self._network)
        learned = [(each.weights(), each.num_samples) for each in self._learners.values()]
        whole.load_state_dict(mean_weights(learned, whole.state_dict()))
        return whole

    def state_dict(self) -> dict[str, Any]:
        """Pretraining's network, and each site's."""
        state = {
            "number": self._number,
            "network": self._network.state_dict(),
            "pretraining": self._pretraining.state_dict(),
            "sites": {name: learner.state_dict() for name, learner in self._learners.items()},
        }
        return copy.deepcopy(state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores them."""
        self._number = int(state["number"])
        self._network.load_state_dict(state["network"])
        self._pretraining.load_state_dict(state["pretraining"])
        self._learners = {name: self._new_learner() for name in state["sites"]}
        for name, each in state["sites"].items():
            self._learners[name].load_state_dict(each)

    def _pretrain(self, sites: Sequence[Site], channels: Sequence[Channel]) -> None:
        sent: list[tuple[Weights, dict[str, int]]] = []
        for site, channel in zip(sites, channels, strict=True):
            network = copy.deepcopy(self._pretraining)
            network.load_state_dict(channel.send_all(self._pretraining.state_dict(), DOWN, CrossingKind.WEIGHTS))
            count = self._solve_puzzles(network, site)
            weights = channel.send_all(network.state_dict(), UP, CrossingKind.WEIGHTS)
            sent.append((weights, dict.fromkeys(weights, count)))
        self._pretraining.load_state_dict(mean_weights(sent, self._pretraining.state_dict()))

    def _solve_puzzles(self, network: MTMedFormer, site: Site) -> int:
        """Trains a site's copy, with an optimizer of this round; how many images it saw."""
        optimizer, losses, count = self._settings.make_optimizer(network.parameters()), [], 0
        loss_of = HybridLoss([self._puzzle], normalize=False)
        network.train()
        for image, target in self._puzzles(site):
            loss = loss_of(network(image), {self._puzzle.name: target})
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
            count += len(image)
        self.losses[site.name] = sum(losses) / max(len(losses), 1)
        return count

    def _puzzles(self, site: Site) -> Iterator[tuple[Tensor, Tensor]]:
        """Images with hidden patches, and what was there; no label is looked at."""
        seed = zlib.crc32(f"{self._seed}/{self._number}/{site.name}".encode())
        generator = torch.Generator().manual_seed(seed)
        for _ in range(self._settings.epochs):
            for batch in site.batches:
                yield hide_batch(batch[IMAGE].as_subclass(Tensor), *self._hidden, generator)

    def _learner(self, name: str, channel: Channel) -> HeadLearner:
        """A site's; one that is new receives the encoder first."""
        if name not in self._learners:
            self._learners[name] = self._new_learner()
            encoder = channel.send_all(self._network.encoder.state_dict(), DOWN, CrossingKind.ONCE)
            self._learners[name].network.encoder.load_state_dict(encoder)
        return self._learners[name]

    def _new_learner(self) -> HeadLearner:
        network = copy.deepcopy(self._network)
        learned = {"frozen": [], "norms": norm_parameters(network.encoder)}
        names = learned.get(self._adapt, [name for name, _ in network.encoder.named_parameters()])
        return HeadLearner(network, self._settings, names)
