"""Task-agnostic federated learning: an encoder pretrained without labels, then heads for each site.

Yao, Nguyen, Srivastava and Ambite, "Task-Agnostic Federated Learning", 2024 (arXiv 2406.17235): masked image modeling
by federated averaging, so neither the server nor other sites learn which tasks a site has, followed by lightweight
adaptation at each site. docs/split_learning.md lists the differences.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from mtmedformer_monai.federated.message import Weights
from mtmedformer_monai.federated.strategies.norms import norm_parameters
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
"""Trained part of the encoder at a site: none, scales and shifts of its norm layers, or all of it."""


class TaskAgnostic(SplitSystem):
    """Pretraining rounds average the encoder and a reconstruction decoder; later rounds send nothing.

    Args:
        network: initial network, whose encoder is pretrained.
        settings: of the training.
        pretraining_rounds: number of pretraining rounds.
        adapt: one of `ADAPTED`.
        hidden: side of a hidden patch in pixels, and the share of patches to hide.
        seed: of the patches to hide.
        observer: called with all transmitted tensors.

    Raises:
        ValueError: no pretraining round, or an unknown value of `adapt`.
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
        self._reconstruction = ReconstructionTask()
        self._pretraining = MTMedFormer(self._network.encoder, [self._reconstruction])
        if self._network.after_stem:
            self._pretraining.stem = self._network.stem
        self._learners: dict[str, HeadLearner] = {}
        self._number = 0

    def round(self, sites: Sequence[Site]) -> Traffic:
        """Runs a pretraining round, or trains the heads after pretraining."""
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
        """Returns the shared encoder with a site's heads, or with the mean heads of the sites that share a task."""
        if site and site not in self._learners:
            raise KeyError(f"no site {site!r} has trained heads yet; known sites: {sorted(self._learners)}.")
        if site:
            return copy.deepcopy(self._learners[site].network)
        whole = copy.deepcopy(self._network)
        learned = [(each.weights(), each.num_samples) for each in self._learners.values()]
        whole.load_state_dict(mean_weights(learned, whole.state_dict()))
        return whole

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the pretraining and of each site."""
        state = {
            "number": self._number,
            "network": self._network.state_dict(),
            "pretraining": self._pretraining.state_dict(),
            "sites": {name: learner.state_dict() for name, learner in self._learners.items()},
        }
        return copy.deepcopy(state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state of the pretraining and of each site."""
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
            count = self._reconstruct(network, site)
            weights = channel.send_all(network.state_dict(), UP, CrossingKind.WEIGHTS)
            sent.append((weights, dict.fromkeys(weights, count)))
        self._pretraining.load_state_dict(mean_weights(sent, self._pretraining.state_dict()))

    def _reconstruct(self, network: MTMedFormer, site: Site) -> int:
        """Trains a site's copy with a new optimizer; returns the number of images."""
        optimizer, losses, count = self._settings.make_optimizer(network.parameters()), [], 0
        loss_of = HybridLoss([self._reconstruction], normalize=False)
        network.train()
        for image, target in self._hidden_batches(site):
            loss = loss_of(network(image), {self._reconstruction.name: target})
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
            count += len(image)
        self.losses[site.name] = sum(losses) / max(len(losses), 1)
        return count

    def _hidden_batches(self, site: Site) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields images with hidden patches, and the hidden pixels, without using labels."""
        seed = zlib.crc32(f"{self._seed}/{self._number}/{site.name}".encode())
        generator = torch.Generator().manual_seed(seed)
        for _ in range(self._settings.epochs):
            for batch in site.batches:
                yield hide_batch(batch[IMAGE].as_subclass(Tensor), *self._hidden, generator)

    def _learner(self, name: str, channel: Channel) -> HeadLearner:
        """Returns the learner of a site; a new one first receives the encoder."""
        if name not in self._learners:
            self._learners[name] = self._new_learner()
            encoder = channel.send_all(self._network.encoder_state(), DOWN, CrossingKind.ONCE)
            self._learners[name].network.load_state_dict(encoder, strict=False)
        return self._learners[name]

    def _new_learner(self) -> HeadLearner:
        network = copy.deepcopy(self._network)
        learned = {"frozen": [], "norms": norm_parameters(network)}
        return HeadLearner(network, self._settings, learned.get(self._adapt, network.encoder_state()))
