"""Detects divergence of a federation and damps it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

_logger = logging.getLogger(__name__)

GROWTH: Final = 4.0
"""Factor of growth of the squared step length that counts as divergence."""

DRIFT: Final = 1.25
"""The reference step length follows shorter steps at once, and longer ones by at most this factor per round."""

RECOVERY: Final = 1.03
"""Factor of the rate after a round without alarm."""

ROUNDING: Final = 1e-10
"""Share of the mean's squared length below which steps are treated as equal, as float32 rounds them."""

LEAST: Final = 1.0 / 64.0
"""Smallest share of the configured rate."""


class StepGuard:
    """Halves the rate when the steps of the global mean grow longer, and restores it slowly.

    An alarm is raised for a step that is much longer than usual, and longer than the previous one, which was already
    longer than usual. A client that joins late or leaves causes a single long step, which raises no alarm.

    Args:
        rate: configured rate; never exceeded.

    Attributes:
        rate: rate for the next round.
    """

    def __init__(self, rate: float) -> None:
        self._chosen = self.rate = rate
        self._usual = self._last = 0.0

    def see(self, squared_step: float, squared_mean: float = 0.0) -> None:
        """Records the step of a round.

        Args:
            squared_step: squared length of the mean's step, in the metric of the posterior precision; 0 if no message
                arrived.
            squared_mean: squared length of the mean itself, relative to which a step may be mere rounding.
        """
        if squared_step <= 0.0:
            return
        squared_length = max(squared_step, ROUNDING * squared_mean)
        if self._is_alarming(squared_length):
            self._damp(squared_length)
        else:
            self._usual = min(squared_length, DRIFT * self._usual) if self._usual > 0.0 else squared_length
            self.rate = min(self._chosen, RECOVERY * self.rate)
        self._last = squared_length

    def state_dict(self) -> dict[str, Any]:
        """Returns the rate and the step lengths."""
        return {"rate": self.rate, "usual": self._usual, "last": self._last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the rate and the step lengths."""
        self.rate, self._usual, self._last = (float(state[name]) for name in ("rate", "usual", "last"))

    def _is_alarming(self, squared_length: float) -> bool:
        return squared_length > GROWTH * self._usual > 0.0 and squared_length > self._last > self._usual

    def _damp(self, squared_length: float) -> None:
        self.rate = max(LEAST * self._chosen, 0.5 * self.rate)
        _logger.warning(
            "The squared step of the global mean grew from about %.3g to %.3g: the federation may diverge. The rate is "
            "now multiplied by %.3g. If this happens again, lower `rate` or raise `isotropic`.",
            self._usual,
            squared_length,
            self.rate,
        )
