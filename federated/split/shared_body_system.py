"""What the split systems have in common: sites in step with one another, a shared body, heads and tails unified."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any

from torch import Tensor, nn

from mtmedformer_monai.federated.strategy import Weights
from mtmedformer_monai.networks.mtmedformer import MTMedFormer

from .channel import DOWN, UP, Channel, CrossingKind, Observer, Traffic
from .server_body import ServerBody
from .split_client import SplitClient
from .split_network import SplitNetwork
from .split_step import SplitStep
from .system import LocalSettings, Site, SplitSystem
from .unify import mean_weights

Batch = tuple[Tensor, dict[str, Tensor]]
"""What a site trains from, and its targets."""


class SharedBodySystem(SplitSystem):
    """Each step takes a batch of every site; a site without batches left sits out the rest of the round.

    Args:
        network: to start from; copied.
        settings: of the training.
        unify_every: U, rounds between two averages of heads and tails.
        head_stages: stages of a hierarchical encoder that stay at the sites.
        observer: sees all that crosses.

    Raises:
        ValueError: U below 1, or a cut that leaves no head or no body.
        TypeError: an encoder that can't be cut.
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
        """One round: epochs, then every U rounds the unified heads and tails."""
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
        """The whole network: the server's body, with a site's head and tails, or the mean of all."""
        whole = copy.deepcopy(self._split.whole)
        whole.load_state_dict(self._client_weights(site), strict=False)
        return whole.requires_grad_(True)

    def state_dict(self) -> dict[str, Any]:
        """The server's, and each site's."""
        state = {
            "number": self._number,
            "unified": self._split.client.state_dict(),
            "server": self._server.state_dict(),
            "sites": {name: member.state_dict() for name, member in self._members.items()},
        }
        return copy.deepcopy(state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores both."""
        self._number = int(state["number"])
        self._split.client.load_state_dict(state["unified"])
        self._server.load_state_dict(state["server"])
        self._members = {name: self._new_member() for name in state["sites"]}
        for name, each in state["sites"].items():
            self._members[name].load_state_dict(each)

    @abstractmethod
    def _train(self, name: str, batch: Batch, step: SplitStep) -> None:
        """A site's batch, forward and back."""

    def _phase(self) -> tuple[bool, bool]:
        """Whether heads and tails learn in this round, and whether the body does."""
        return True, True

    def _body_module(self) -> nn.Module:
        """What the server trains."""
        return self._split.body

    def _body(self, name: str, features: Tensor) -> list[Tensor]:
        """What the server computes for a site."""
        maps: list[Tensor] = self._server.module(features)
        return maps

    def _crosses(self, name: str) -> bool:
        """Whether a parameter of head or tails is unified."""
        return True

    def _batches(self, site: Site, channel: Channel) -> Iterator[Batch]:
        """One epoch of a site."""
        return self._settings.prepared(site.batches)

    def _step(self, batches: Mapping[str, Batch], channels: Mapping[str, Channel]) -> None:
        for name, batch in batches.items():
            self._train(name, batch, SplitStep(channels[name], partial(self._body, name)))
            self._members[name].step()
        self._server.step(len(batches))

    def _member(self, name: str, channel: Channel) -> SplitClient:
        """The site's side; one that is new receives head and tails first."""
        if name not in self._members:
            self._members[name] = self._new_member()
            self._members[name].receive(channel.send_all(self._split.client.state_dict(), DOWN, CrossingKind.ONCE))
        return self._members[name]

    def _new_member(self) -> SplitClient:
        part = copy.deepcopy(self._split.client)
        return SplitClient(part, self._settings, {name: self._tasks_of[name] for name in part.state_dict()})

    def _unify(self, channels: Mapping[str, Channel]) -> None:
        """Sites send what they have labels for, and receive the means of just that."""
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
            raise KeyError(f"no site {site!r} took part in a round, only {sorted(self._members)}.")
        return dict(self._members[site].part.state_dict())
