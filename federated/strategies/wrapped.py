"""Base classes of strategies that wrap another one: everything is delegated, and a subclass overrides what differs.

A hook that is added to the interface (`federated/strategy.py`) is forwarded here once, for all wrappers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from mtmedformer_monai.federated.message import Message, Weights
from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining, ServerRule, Strategy
from mtmedformer_monai.federated.teaching import Teaching
from mtmedformer_monai.layers.permutation_groups import PermutationGroups


class WrappedStrategy(Strategy):
    """Builds the wrapped strategy's clients and server.

    Args:
        strategy: to wrap.
    """

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self.sends_changes, self.sends_sums = strategy.sends_changes, strategy.sends_sums
        self.image_precision, self.most_images = strategy.image_precision, strategy.most_images
        self.prior_precision = strategy.prior_precision
        self.is_personal, self.screening = strategy.is_personal, strategy.screening

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns the wrapped strategy's client."""
        return self._strategy.client(groups)

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns the wrapped strategy's server."""
        return self._strategy.server(weights)


class WrappedClient(ClientRule):
    """Delegates every call to a client of the wrapped strategy.

    Args:
        rule: client of the wrapped strategy.
    """

    def __init__(self, rule: ClientRule) -> None:
        self._rule = rule
        self.needs_squared_gradient, self.needs_input_gram = rule.needs_squared_gradient, rule.needs_input_gram
        self.corrects_labeled_steps = rule.corrects_labeled_steps

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Delegates to the wrapped strategy, as all methods do."""
        return self._rule.receive(broadcast)

    def teaching(self) -> Teaching | None:  # noqa: D102 see `receive`
        return self._rule.teaching()

    @property
    def is_extra(self) -> bool:  # noqa: D102
        return self._rule.is_extra

    def served(self, broadcast: Mapping[str, Tensor]) -> Message:  # noqa: D102
        return self._rule.served(broadcast)

    def inference_weights(self, broadcast: Mapping[str, Tensor]) -> Weights:  # noqa: D102
        return self._rule.inference_weights(broadcast)

    def correct(self, name: str, weight: Tensor, gradient: Tensor, num_samples: int) -> Tensor:  # noqa: D102
        return self._rule.correct(name, weight, gradient, num_samples)

    def after_step(self, weights: Mapping[str, Tensor], step: int, num_steps: int) -> None:  # noqa: D102
        self._rule.after_step(weights, step, num_steps)

    def send(self, training: LocalTraining) -> Message:  # noqa: D102
        return self._rule.send(training)

    def own_factor(self, broadcast: Mapping[str, Tensor]) -> Message:  # noqa: D102
        return self._rule.own_factor(broadcast)

    def withdraw(self) -> Message:  # noqa: D102
        return self._rule.withdraw()

    def state_dict(self) -> dict[str, Any]:  # noqa: D102
        return self._rule.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: D102
        self._rule.load_state_dict(state)


class WrappedServer(ServerRule):
    """Delegates every call to the wrapped strategy's server.

    Args:
        rule: server of the wrapped strategy.
    """

    def __init__(self, rule: ServerRule) -> None:
        self._rule = rule

    def add(self, message: Mapping[str, Tensor]) -> None:
        """Delegates to the wrapped strategy, as all methods do."""
        self._rule.add(message)

    def decoded(self, message: Mapping[str, Tensor]) -> Message:  # noqa: D102 see `add`
        return self._rule.decoded(message)

    def close_round(self) -> None:  # noqa: D102
        self._rule.close_round()

    def broadcast(self) -> Message:  # noqa: D102
        return self._rule.broadcast()

    def broadcast_for(self, tasks: Collection[str]) -> Message:  # noqa: D102
        return self._rule.broadcast_for(tasks)

    def prior_number(self) -> int:  # noqa: D102
        return self._rule.prior_number()

    def averages(self) -> bool:  # noqa: D102
        return self._rule.averages()

    def extra_rounds(self) -> int:  # noqa: D102
        return self._rule.extra_rounds()

    def group_of(self, tasks: Collection[str]) -> str:  # noqa: D102
        return self._rule.group_of(tasks)

    def has_ended(self, message: Mapping[str, Tensor]) -> bool:  # noqa: D102
        return self._rule.has_ended(message)

    def group_networks(self) -> dict[str, tuple[Weights, Weights]]:  # noqa: D102
        return self._rule.group_networks()

    def state_dict(self) -> dict[str, Any]:  # noqa: D102
        return self._rule.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: D102
        self._rule.load_state_dict(state)
