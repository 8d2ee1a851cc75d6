"""A client whose strategy sees only filtered weights."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import Tensor

from mtmedformer_monai.federated.message import Message, Weights
from mtmedformer_monai.federated.strategies.wrapped import WrappedClient
from mtmedformer_monai.federated.strategy import UNKNOWN_LOSS, ClientRule, LocalTraining

from .privacy_budget import SPENT, PrivacyBudget
from .privacy_loss import epsilon_of, mu_of
from .update_filters import GaussianMechanism, UpdateFilter

SMALLEST_VARIANCE: Final = 1e-5
"""Lower limit of batch norm's running variances, which noise could make negative."""

DELTA: Final = 1e-5
"""Delta of the epsilon that is logged."""

RELEASES: Final = "num_releases"
"""Key in a filtered client's state: number of its messages."""

_logger = logging.getLogger("mtmedformer")


class FilteredClient(WrappedClient):
    """Passes the change of the weights in a round through filters, before the strategy computes its message from it.

    The iterates within a round, the losses, and which rows of a tensor had a gradient are not passed on, because they
    are not filtered. So rows of classes that the site does not know count as trained.

    Args:
        rule: client of the strategy.
        filters: applied one after another.
        budget: of the site's privacy loss; what exceeds it is not sent.

    Raises:
        ValueError: the strategy sends more than it computes from the trained weights, or a budget has no noise.
    """

    def __init__(self, rule: ClientRule, filters: Sequence[UpdateFilter], budget: PrivacyBudget | None = None) -> None:
        if not rule.sends_weights_alone:
            raise ValueError(
                "update_filters expect a strategy whose messages depend on the images through the weights alone: "
                "bayesian without curvature, fedavg, fedavgm, fedadam, fedprox, matching or pfnm; choose one of these, "
                "or remove the filters."
            )
        super().__init__(rule)
        self._filters, self._budget = list(filters), budget
        self._noise = max((each.noise for each in filters if isinstance(each, GaussianMechanism)), default=0.0)
        if budget is not None and self._noise == 0.0:
            raise ValueError(
                "privacy_budget expects a gaussian filter with noise, as messages without noise have no limit; add one "
                "to update_filters of the site or of the job."
            )
        self._start: Weights = {}
        self._num_releases, self._spent = 0, 0.0

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Returns the strategy's start of the training, which the update is relative to."""
        received = self._rule.receive(broadcast)
        self._start = {name: value.detach().cpu().clone() for name, value in received.items()}
        return received

    def after_step(self, weights: Mapping[str, Tensor], step: int, num_steps: int) -> None:
        """Does nothing."""

    def send(self, training: LocalTraining) -> Message:
        """Returns the strategy's message for the filtered weights; parameters that a filter removes are not sent.

        It is empty if the privacy budget does not allow it, and in rounds that teach missing labels: they are more than
        a site has agreed to, and how many labels are completed depends on the images.
        """
        if self._rule.teaching() is not None:
            _logger.info("This round teaches missing labels: a site with filters of updates sends nothing.")
            return {}
        if self._budget is not None and not self._budget.spend(self._noise):
            return {}
        weights, start = training.weights, self._start
        sent = {name: count for name, count in training.num_samples.items() if count > 0}
        update = {name: weights[name].float() - start[name].float() for name in sent if _is_float(weights[name])}
        for each in self._filters:
            update = each(update)
        counters = {name for name in sent if not _is_float(weights[name])}
        unchanged = {name: start[name] for name in sent if name not in counters}  # what a filter removes stays so
        moved = {name: _positive(name, start[name] + value) for name, value in update.items()}
        filtered = {**weights, **unchanged, **moved}
        self._num_releases += 1
        self._spent += mu_of(self._noise, 1) ** 2
        self._log_loss()
        kept = {name: count for name, count in sent.items() if name in update or name in counters}
        sent_on = dataclasses.replace(
            training,
            weights=filtered,
            num_samples=kept,
            squared_gradient={},
            input_gram={},
            unlearned={},
            loss=0.0,
            relative_loss=UNKNOWN_LOSS,
        )
        return self._rule.send(sent_on)

    def state_dict(self) -> dict[str, Any]:
        """Returns the strategy's state, the number of messages and the sum of their squared mu."""
        return {"rule": self._rule.state_dict(), RELEASES: self._num_releases, SPENT: self._spent}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state, also one of the strategy alone, which a client without filters has written.

        The messages of such a client had no noise, so their privacy loss is infinite.
        """
        self._rule.load_state_dict(unfiltered(state))
        self._num_releases = int(state.get(RELEASES, 0))
        self._spent = float(state.get(SPENT, math.inf))

    def _log_loss(self) -> None:
        if self._noise > 0.0:
            spent = epsilon_of(math.sqrt(self._spent), DELTA)
            _logger.info(
                "After %d messages, the updates are (%.3g, %g)-differentially private for all of the site's images.",
                self._num_releases, spent, DELTA,
            )  # fmt: skip


def unfiltered(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the strategy's part of a client's state, which was written with or without filters."""
    return state["rule"] if RELEASES in state else state


def _is_float(value: Tensor) -> bool:
    return value.is_floating_point()


def _positive(name: str, value: Tensor) -> Tensor:
    return value.clamp(min=SMALLEST_VARIANCE) if name.endswith("running_var") else value
