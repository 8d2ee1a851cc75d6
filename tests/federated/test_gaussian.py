import math

import pytest
import torch

from mtmedformer_monai.federated.gaussian import (
    Gaussian,
    from_moments,
    guard,
    identity,
    mean_of,
    product,
    quotient,
)


def random_gaussian(seed: int, size: int = 5) -> Gaussian:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(size, generator=generator, dtype=torch.float64)
    return from_moments(mean, torch.rand(size, generator=generator, dtype=torch.float64) + 0.1)


def log_density(x: torch.Tensor, gaussian: Gaussian) -> torch.Tensor:
    variance = 1.0 / gaussian.precision
    return torch.distributions.Normal(mean_of(gaussian), variance.sqrt()).log_prob(x).sum(-1)


def test_product_is_the_product_of_densities():
    left, right = random_gaussian(0), random_gaussian(1)
    x = torch.randn(50, 5, dtype=torch.float64)
    difference = log_density(x, left) + log_density(x, right) - log_density(x, product(left, right))
    torch.testing.assert_close(difference, difference[:1].expand(50))  # constant: the normalization


def test_quotient_undoes_product():
    left, right = random_gaussian(0), random_gaussian(1)
    for given, expected in zip(quotient(product(left, right), right), left, strict=True):
        torch.testing.assert_close(given, expected)


def test_identity_changes_nothing():
    gaussian = random_gaussian(0)
    assert all(map(torch.equal, product(gaussian, identity(gaussian.precision_mean)), gaussian))


def test_full_precision_agrees_with_torch():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    precision, mean = root @ root.T + torch.eye(4), torch.randn(4, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(mean_of(from_moments(mean, precision)), mean)


def test_linear_regression_over_sites_equals_the_pooled_posterior():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, 4, generator=generator, dtype=torch.float64)
    outputs = inputs @ torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    outputs += 0.1 * torch.randn(60, generator=generator, dtype=torch.float64)
    prior = from_moments(torch.zeros(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64))
    noise = 100.0  # precision of the outputs

    def factor(rows: slice) -> Gaussian:
        return Gaussian(noise * inputs[rows].T @ outputs[rows], noise * inputs[rows].T @ inputs[rows])

    sites = [factor(slice(0, 7)), factor(slice(7, 30)), factor(slice(30, 60))]
    together = product(prior, *sites)
    pooled = torch.linalg.solve(
        torch.eye(4, dtype=torch.float64) + noise * inputs.T @ inputs, noise * inputs.T @ outputs
    )
    torch.testing.assert_close(mean_of(together), pooled)


@pytest.mark.parametrize("value", [0.0, -1.0], ids=["zero", "negative"])
def test_a_mean_without_precision_is_an_error_with_the_remedy(value):
    with pytest.raises(ValueError, match="include the prior"):
        mean_of(Gaussian(torch.ones(2), torch.tensor([1.0, value])))
    with pytest.raises(ValueError, match="positive definite"):
        mean_of(Gaussian(torch.ones(2), torch.tensor([[1.0, 0.0], [0.0, value]])))


def test_guard_replaces_what_is_not_sane_and_nothing_else():
    gaussian = Gaussian(torch.tensor([2.0, -1.0, math.nan]), torch.tensor([4.0, -0.5, math.nan]))
    guarded = guard(gaussian, 0.1, torch.tensor([9.0, 7.0, 5.0]))
    torch.testing.assert_close(mean_of(guarded), torch.tensor([0.5, 7.0, 5.0]))
    torch.testing.assert_close(guarded.precision, torch.tensor([4.0, 0.1, 0.1]))
