"""The privacy loss equals the integral of its definition, and its laws hold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mtmedformer_monai.federated.client.privacy_loss import delta, epsilon


def integrated_delta(epsilon_, mu):
    """Returns the hockey-stick divergence of N(mu, 1) from N(0, 1), integrated over a fine grid."""
    x = np.linspace(-40.0, 60.0, 2_000_001)
    log_p, log_q = -((x - mu) ** 2) / 2, -(x**2) / 2
    return float(np.trapezoid(np.maximum(np.exp(log_p) - np.exp(log_q + epsilon_), 0.0), x)) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize(("epsilon_", "mu"), [(0.0, 0.5), (1.0, 1.0), (3.0, 1.0), (8.0, 4.0), (0.1, 2.0)])
def test_delta_equals_the_integral_of_its_definition(epsilon_, mu):
    assert delta(epsilon_, mu) == pytest.approx(integrated_delta(epsilon_, mu), rel=1e-5, abs=1e-12)


@pytest.mark.parametrize(("noise", "num_messages"), [(0.5, 1), (2.0, 10), (20.0, 5), (0.001, 3)])
def test_epsilon_solves_for_delta(noise, num_messages):
    found = epsilon(noise, num_messages, 1e-5)
    assert delta(found, 2 * math.sqrt(num_messages) / noise) == pytest.approx(1e-5, rel=1e-3)


@pytest.mark.parametrize(
    ("noise", "num_messages", "expected"), [(2.0, 2, 6.57297), (2.0, 10, 17.85659), (20.0, 5, 0.81973)]
)
def test_epsilon_equals_that_of_dp_accounting(noise, num_messages, expected):
    # dp_accounting 0.6.0: from_gaussian_mechanism(noise, sensitivity=2).self_compose(num_messages)
    assert epsilon(noise, num_messages, 1e-5) == pytest.approx(expected, rel=1e-5)


def test_four_messages_with_twice_the_noise_cost_as_much_as_one():
    assert epsilon(6.0, 4, 1e-6) == pytest.approx(epsilon(3.0, 1, 1e-6))


def test_no_noise_gives_no_guarantee():
    assert epsilon(0.0, 1, 1e-5) == math.inf


@pytest.mark.parametrize(("noise", "num_messages", "delta_"), [(-1.0, 1, 1e-5), (1.0, 0, 1e-5), (1.0, 1, 0.0)])
def test_numbers_out_of_range_are_refused(noise, num_messages, delta_):
    with pytest.raises(ValueError, match="epsilon expects noise of 0 or more"):
        epsilon(noise, num_messages, delta_)
