"""Base class of split-learning systems: synchronous sites, a shared body, averaged heads and tails."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any

from torch import Tensor, nn

from mtmedformer_monai.federated.message import Weights
from mtmedformer_monai.networks.mtmedformer import MTMedFormer

from .channel import DOWN, UP, Channel, CrossingKind, Observer, Traffic
from .server_body import ServerBody
from .split_client import SplitClient
from .split_network import SplitNetwork
from .split_step import SplitStep
from .system import LocalSettings, Site, SplitSystem
from .unify import mean_weights

Batch = tuple[Tensor, dict[str, Tensor]]
"""Input of a site's training, and its targets."""


class SharedBodySystem(SplitSystem):
    """Processes one batch of every site per step; a site without remaining batches skips the rest of the round.

    Args:
        network: initial network; copied.
        settings: of the training.
        unify_every: U, rounds between averages of heads and tails.
        head_stages: number of stages of a hierarchical encoder that remain at the sites.
        observer: called with all transmitted tensors.

    Raises:
        ValueError: U is below 1, or the cut leaves no head or no body.
        TypeError: the encoder cannot be cut.
    """

    def __init__(
        self,
        network: MTMedFormer,
        settings: LocalSettings,
        unify_every: int = 1,
        head_stages: int = 1,
        observer: Observer | None = None,
    ) -> None:
        super().__init__()
        if unify_every < 1:
            raise ValueError(f"unify_every expects 1 round or more, got {unify_every}.")
        self._settings, self._unify_every, self._observer = settings, unify_every, observer
        self._split = SplitNetwork(copy.deepcopy(network), head_stages)
        self._tasks_of = settings.tasks_of(self._split.whole)
        self._server = ServerBody(self._body_module(), settings)
        self._members: dict[str, SplitClient] = {}
        self._number = 0

    def round(self, sites: Sequence[Site]) -> Traffic:
        """Runs one round of epochs; every U rounds, heads and tails are averaged."""
        traffic, self._number = Traffic(), self._number + 1
        channels = {site.name: Channel(site.name, traffic, self._observer) for site in sites}
        trains_sites, trains_body = self._phase()
        self._server.begin(trains_body)
        for site in sites:
            self._member(site.name, channels[site.name]).begin(trains_sites)
        for _ in range(self._settings.epochs):
            for step in zip_longest(*[self._batches(site, channels[site.name]) for site in sites]):
                self._step({site.name: batch for site, batch in zip(sites, step, strict=True) if batch}, channels)
        self.losses = {site.name: self._members[site.name].end() for site in sites}
        if self._number % self._unify_every == 0:
            self._unify(channels)
        return traffic

    def network(self, site: str = "") -> nn.Module:
        """Returns the whole network: the server's body with a site's head and tails, or with the mean of all sites'."""
        whole = copy.deepcopy(self._split.whole)
        whole.load_state_dict(self._client_weights(site), strict=False)
        return whole.requires_grad_(True)

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the server and of each site."""
        state = {
            "number": self._number,
            "unified": self._split.client.state_dict(),
            "server": self._server.state_dict(),
            "sites": {name: member.state_dict() for name, member in self._members.items()},
        }
        return copy.deepcopy(state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state of the server and of each site."""
        self._number = int(state["number"])
        self._split.client.load_state_dict(state["unified"])
        self._server.load_state_dict(state["server"])
        self._members = {name: self._new_member() for name in state["sites"]}
        for name, each in state["sites"].items():
            self._members[name].load_state_dict(each)

    @abstractmethod
    def _train(self, name: str, batch: Batch, step: SplitStep) -> None:
        """Runs the forward and backward pass of a site's batch."""

    def _phase(self) -> tuple[bool, bool]:
        """Returns whether heads and tails, and whether the body, are trained in this round."""
        return True, True

    def _body_module(self) -> nn.Module:
        """Returns the module that the server trains."""
        return self._split.body

    def _body(self, name: str, features: Tensor) -> list[Tensor]:
        """Computes the server's output for a site."""
        maps: list[Tensor] = self._server.module(features)
        return maps

    def _crosses(self, name: str) -> bool:
        """Returns whether a parameter of head or tails is averaged."""
        return True

    def _batches(self, site: Site, channel: Channel) -> Iterator[Batch]:
        """Yields the batches of one epoch at a site."""
        return self._settings.prepared(site.batches)

    def _step(self, batches: Mapping[str, Batch], channels: Mapping[str, Channel]) -> None:
        for name, batch in batches.items():
            self._train(name, batch, SplitStep(channels[name], partial(self._body, name)))
            self._members[name].step()
        self._server.step(len(batches))

    def _member(self, name: str, channel: Channel) -> SplitClient:
        """Returns the client at a site; a new client first receives head and tails."""
        if name not in self._members:
            self._members[name] = self._new_member()
            self._members[name].receive(channel.send_all(self._split.client.state_dict(), DOWN, CrossingKind.ONCE))
        return self._members[name]

    def _new_member(self) -> SplitClient:
        part = copy.deepcopy(self._split.client)
        return SplitClient(part, self._settings, {name: self._tasks_of[name] for name in part.state_dict()})

    def _unify(self, channels: Mapping[str, Channel]) -> None:
        """Averages the parameters for which sites have labels; each site receives the means of those that it sent."""
        sent = []
        for name, channel in channels.items():
            weights = {key: value for key, value in self._members[name].weights().items() if self._crosses(key)}
            sent.append((channel.send_all(weights, UP, CrossingKind.WEIGHTS), self._members[name].num_samples))
        unified = mean_weights(sent, self._split.client.state_dict())
        self._split.client.load_state_dict(unified)
        for (weights, _), (name, channel) in zip(sent, channels.items(), strict=True):
            own = {key: unified[key] for key in weights}
            self._members[name].receive(channel.send_all(own, DOWN, CrossingKind.WEIGHTS))

    def _client_weights(self, site: str) -> Weights:
        if not site:
            members = self._members.values()
            return mean_weights(
                [(each.weights(), each.num_samples) for each in members], self._split.client.state_dict()
            )
        if site not in self._members:
            raise KeyError(f"no site {site!r} has taken part in a round; known sites: {sorted(self._members)}.")
        return dict(self._members[site].part.state_dict())
