"""Methods of the federation study: strategies of the package, and controls.

A method is written NAME or NAME:SETTING=VALUE,SETTING=VALUE. Names are those of `make_strategy` and of `CONTROLS`.
Settings are fields of `Method`, or arguments of the strategy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from mtmedformer_monai.cli.federate import parse_pairs
from mtmedformer_monai.federated.client.personal import OWN_SHARE
from mtmedformer_monai.federated.message import Message
from mtmedformer_monai.federated.strategies import make_strategy
from mtmedformer_monai.federated.strategies.distillation_settings import ROUNDS
from mtmedformer_monai.federated.strategies.wrapped import WrappedClient, WrappedStrategy
from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining, Strategy
from mtmedformer_monai.layers.permutation_groups import PermutationGroups


@dataclass(frozen=True)
class Method:
    """A way to train networks from the data of several sites.

    Attributes:
        strategy: name, as in `make_strategy`.
        settings: of the strategy.
        sites: 'all'; 'owners': one federation per segmentation task, of the sites that annotate it, which serves this
            task only; 'pooled': one site with all images.
        personal: whether each site infers with its own network, and a task is served by its owners' networks.
        own_share: additional weight of a site's own factor in its network, for `personal`.
        last: whether the networks of `personal` are those that the sites have trained in the last round.
        equal: whether sites are weighted equally in averages, not by their number of images.
        optimizer: 'adamw' or 'sgd'.
        lr: learning rate; 0: the one that was chosen for the method.
        start: of the first round: 'common' initial weights; after every site has trained alone, from initial weights of
            its own, the 'largest' site's weights for all, each site's 'own', aligned with the largest site's, or as a
            control each site's own 'unaligned'; or weights that are 'given', for all.
    """

    strategy: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    sites: str = "all"
    personal: bool = False
    own_share: float = OWN_SHARE
    last: bool = False
    equal: bool = False
    optimizer: str = "adamw"
    lr: float = 0.0
    start: str = "common"

    def make(self, rounds: int = 1) -> Strategy:
        """Builds the strategy for a number of rounds; without distillation, unless the settings ask for it."""
        strategy = make_strategy(self.strategy, num_rounds=rounds, **{"distillation_rounds": 0, **self.settings})
        return EqualWeights(strategy) if self.equal else strategy


CONTROLS: dict[str, Method] = {
    "fedavg_equal": Method("fedavg", equal=True),
    "fedavg_last": Method("fedavg", personal=True, last=True),
    "fedavg_equal_last": Method("fedavg", personal=True, last=True, equal=True),
    "owners": Method("fedavg", sites="owners"),
    "pooled": Method("fedavg", sites="pooled"),
    "local": Method("local", personal=True),
    "fedbn": Method("fedbn", personal=True),
    "bayesian": Method("bayesian", personal=True),
    "bayesian_global": Method("bayesian"),
    "bayesian_distilled": Method("bayesian", {"distillation_rounds": ROUNDS}),
    "bayesian_pooled": Method("bayesian", {"between": 0.0}),
    "scaffold": Method("scaffold", optimizer="sgd"),
    "fedavg_sgd": Method("fedavg", optimizer="sgd"),
}
"""Methods that are more than a strategy with its defaults."""

METHODS = (
    "fedavg",
    "fedavg_last",
    "fedavg_equal",
    "fedavg_equal_last",
    "owners",
    "fedprox",
    "fedbn",
    "feddyn",
    "scaffold",
    "fedavgm",
    "fedadam",
    "fisher",
    "fedpa",
    "matching",
    "condistfl",
    "fedmix",
    "bayesian",
    "bayesian_distilled",
    "local",
    "pooled",
)
"""The methods of the study."""

GIVEN = "given"
APART = ("largest", "own", "unaligned")
"""Starts after every site has trained alone."""
CHOICES = {
    "sites": ("all", "owners", "pooled"),
    "optimizer": ("adamw", "sgd"),
    "start": ("common", GIVEN, *APART),
}


def parse_method(text: str) -> Method:
    """Parses a method.

    Raises:
        ValueError: a setting is not NAME=VALUE, or not one of its choices, or has no effect.

    Example:
        >>> parse_method("fedprox:proximal=0.1,equal=true")
        Method(strategy='fedprox', settings={'proximal': 0.1}, sites='all', personal=False, equal=True, ...)
    """
    name, _, pairs = text.partition(":")
    base = CONTROLS.get(name, Method(name))
    given = parse_pairs(pairs.split(",") if pairs else [], "--methods")
    own = {each.name for each in dataclasses.fields(Method)} - {"strategy", "settings"}
    for setting, choices in CHOICES.items():
        if given.get(setting, choices[0]) not in choices:
            raise ValueError(f"--methods expects {setting} to be one of {choices}, got {given[setting]!r}.")
    settings = {**base.settings, **{key: value for key, value in given.items() if key not in own}}
    changes = {key: value for key, value in given.items() if key in own}
    method = dataclasses.replace(base, settings=settings, **changes)
    if method.last and not method.personal:
        raise ValueError(f"--methods expects personal=true for last=true, the sites' last own networks, in {text!r}.")
    return method


class EqualWeights(WrappedStrategy):
    """Control: clients count as one image each, whatever their number of images. For averages only.

    Args:
        strategy: to wrap.
    """

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client that claims one image."""
        return _EqualClient(self._strategy.client(groups))


class _EqualClient(WrappedClient):
    def correct(self, name: str, weight: Tensor, gradient: Tensor, num_samples: int) -> Tensor:
        """Delegates with one image."""
        return self._rule.correct(name, weight, gradient, 1)

    def send(self, training: LocalTraining) -> Message:
        """Sends with one image for each parameter that was trained."""
        counts = {name: 1 for name, count in training.num_samples.items() if count > 0}
        return self._rule.send(dataclasses.replace(training, num_samples=counts))
