"""The exact privacy loss of repeated Gaussian mechanisms.

Unit of privacy: all training images of a site. Two updates of norm `clip` differ by at most `2 clip`, whatever images
are replaced, so each message is a Gaussian mechanism with sensitivity `2 clip` and deviation `noise * clip`. T of them,
even if each depends on those before, are no worse than one with `mu = 2 sqrt(T) / noise` (Gaussian differential
privacy: Dong, Roth and Su, JRSS B 2022, corollary 2).
"""

from __future__ import annotations

import math

import torch


def delta(epsilon: float, mu: float) -> float:
    """Returns the smallest delta of a Gaussian mechanism (Balle and Wang, ICML 2018, theorem 8).

    Args:
        epsilon: of 0 or more.
        mu: sensitivity divided by the standard deviation of the noise.

    Example:
        >>> round(delta(1.0, 1.0), 4)
        0.1269
    """
    first, second = mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu
    return math.exp(_log_cdf(first)) - math.exp(min(0.0, epsilon + _log_cdf(second)))


def epsilon(noise: float, num_messages: int, delta_: float) -> float:
    """Returns the epsilon of a site's messages; infinite without noise.

    Args:
        noise: standard deviation of the noise, divided by the clipping norm.
        num_messages: number of messages, each of them trained anew.
        delta_: probability with which epsilon may be exceeded, in (0, 1).

    Raises:
        ValueError: numbers out of range.
    """
    if noise < 0 or num_messages < 1 or not 0 < delta_ < 1:
        raise ValueError(
            f"epsilon expects noise of 0 or more, 1 message or more and delta in (0, 1), got {noise}, {num_messages} "
            f"and {delta_}."
        )
    return epsilon_of(mu_of(noise, num_messages), delta_)


def mu_of(noise: float, num_messages: int) -> float:
    """Returns the mu of Gaussian differential privacy of messages with the same noise; infinite without noise."""
    return 2.0 * math.sqrt(num_messages) / noise if noise > 0 else math.inf


def epsilon_of(mu: float, delta_: float) -> float:
    """Returns the smallest epsilon of a mechanism with this mu; infinite if mu is."""
    if math.isinf(mu):
        return math.inf
    low, high = 0.0, mu**2 / 2 + mu * math.sqrt(2 * math.log(1 / delta_))  # zero-concentrated privacy, an upper bound
    if mu == 0.0 or delta(low, mu) <= delta_:
        return 0.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if delta(middle, mu) > delta_ else (low, middle)
    return high


def _log_cdf(value: float) -> float:
    return float(torch.special.log_ndtr(torch.tensor(value, dtype=torch.float64)))
