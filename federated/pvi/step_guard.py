"""Notices that a federation diverges, and damps it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

_logger = logging.getLogger(__name__)

GROWTH: Final = 4.0
"""Of the step's squared length over what it was: so much is divergence."""

DRIFT: Final = 1.25
"""What the step is compared with follows shorter steps at once, and longer ones by this factor a round at most."""

RECOVERY: Final = 1.03
"""Factor of the rate after a round without alarm."""

ROUNDING: Final = 1e-10
"""Share of the mean's squared length below which steps are all alike: float32 rounds them."""

LEAST: Final = 1.0 / 64.0
"""Share of the chosen rate that is always left."""


class StepGuard:
    """Halves the rate when the global mean takes longer and longer steps; recovers it slowly.

    Alarm: a step that is much longer than usual, and longer than the last, which was already longer than usual. A site
    that joins late or leaves makes one long step, and no alarm.

    Args:
        rate: that is chosen; never exceeded.

    Attributes:
        rate: of the next round.
    """

    def __init__(self, rate: float) -> None:
        self._chosen = self.rate = rate
        self._usual = self._last = 0.0

    def see(self, squared_step: float, squared_mean: float = 0.0) -> None:
        """Takes note of a round's step.

        Args:
            squared_step: length of the mean's step, in the metric of the posterior's precision; 0: nothing came.
            squared_mean: length of the mean itself, beside which a step may be rounding alone.
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
        """Rate, and what steps were like."""
        return {"rate": self.rate, "usual": self._usual, "last": self._last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores them."""
        self.rate, self._usual, self._last = (float(state[name]) for name in ("rate", "usual", "last"))

    def _is_alarming(self, squared_length: float) -> bool:
        return squared_length > GROWTH * self._usual > 0.0 and squared_length > self._last > self._usual

    def _damp(self, squared_length: float) -> None:
        self.rate = max(LEAST * self._chosen, 0.5 * self.rate)
        _logger.warning(
            "The global mean's squared step grew from about %.3g to %.3g: the federation may diverge; the rate is now "
            "times %.3g. If this comes again, lower `rate` or raise `isotropic`.",
            self._usual,
            squared_length,
            self.rate,
        )
