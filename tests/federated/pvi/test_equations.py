import pytest
import torch

from mtmedformer_monai.federated.gaussian import Gaussian, from_moments, mean_of, quotient
from mtmedformer_monai.federated.pvi.equations import (
    Cavity,
    PrecisionScale,
    cavity_gradient,
    cavity_of,
    likelihood_precision,
    new_factor,
)
from mtmedformer_monai.federated.pvi.posterior import Accumulator, means

SIZES = (40, 15, 80)
PRIOR_PRECISION = 0.5


def make_sites(seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Returns logistic data of three heterogeneous sites: inputs (N, 3), labels (N,)."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.tensor([1.5, -1.0, 0.3], dtype=torch.float64)
    sites = []
    for index, size in enumerate(SIZES):
        inputs = torch.randn(size, 3, generator=generator, dtype=torch.float64) * (1 + index) * 0.7
        inputs[:, 0] += index - 1  # each site has a different range of inputs
        chance = torch.sigmoid(inputs @ truth)
        sites.append((inputs, (torch.rand(size, generator=generator, dtype=torch.float64) < chance).double()))
    return sites


def loss_gradient(weights: torch.Tensor, site) -> torch.Tensor:
    inputs, labels = site
    return inputs.T @ (torch.sigmoid(inputs @ weights) - labels)


def curvature(weights: torch.Tensor, site) -> torch.Tensor:
    inputs, _ = site
    chance = torch.sigmoid(inputs @ weights)
    return (inputs * (chance * (1 - chance))[:, None]).T @ inputs


def train(site, cavity: Cavity) -> torch.Tensor:
    """Returns the client's optimum with the cavity as prior, by Newton's method."""
    weights = cavity.mean.clone()
    for _ in range(8):
        gradient = loss_gradient(weights, site) + cavity_gradient(weights, cavity)
        weights -= torch.linalg.solve(curvature(weights, site) + torch.diag(cavity.precision), gradient)
    return weights


def pooled_optimum(sites) -> torch.Tensor:
    everything = tuple(torch.cat(parts) for parts in zip(*sites, strict=True))
    zeros = torch.zeros(3, dtype=torch.float64)
    return train(everything, cavity_of(zeros, torch.full_like(zeros, PRIOR_PRECISION), None))


def federate(sites, precision_of, rounds: int, rate: float | None) -> torch.Tensor:
    prior = {"w": from_moments(torch.zeros(3, dtype=torch.float64), torch.full((3,), PRIOR_PRECISION).double())}
    accumulator, factors = Accumulator(prior), [None for _ in sites]
    for _ in range(rounds):
        posterior, changes = accumulator.posterior()["w"], []
        for index, site in enumerate(sites):
            cavity = cavity_of(mean_of(posterior), posterior.precision, factors[index])
            trained = train(site, cavity)
            new = new_factor(trained, cavity, precision_of(trained, site), rate)
            changes.append(new if factors[index] is None else quotient(new, factors[index]))
            factors[index] = new
        for change in changes:
            accumulator.add({"w": change})
    return means(accumulator.posterior())["w"]


@pytest.mark.parametrize(
    "precision_of",
    [
        lambda weights, site: curvature(weights, site).diagonal().clone(),
        lambda weights, site: torch.full((3,), 0.3 * len(site[0]), dtype=torch.float64),
        lambda weights, site: torch.tensor([40.0, 2.0, 9.0], dtype=torch.float64),
    ],
    ids=["diagonal of the Hessian", "isotropic", "arbitrary"],
)
@pytest.mark.parametrize("rate", [0.5, None], ids=["half", "share of the precision"])
def test_the_fixed_point_is_the_pooled_optimum_whatever_the_precisions(precision_of, rate):
    sites = make_sites()
    reached = federate(sites, precision_of, rounds=250, rate=rate)
    torch.testing.assert_close(reached, pooled_optimum(sites), rtol=0, atol=1e-6)


def test_averaging_without_memory_stalls_elsewhere():
    """Clients without state converge elsewhere: trained alone, weighted by numbers of samples (FedAvg)."""
    sites, zeros = make_sites(), torch.zeros(3, dtype=torch.float64)
    trained = [train(site, cavity_of(zeros, torch.full_like(zeros, 1e-6), None)) for site in sites]
    average = sum(size * weights for size, weights in zip(SIZES, trained, strict=True)) / sum(SIZES)
    assert (average - pooled_optimum(sites)).abs().max() > 0.05


def test_cavity_by_hand():
    """Posterior of mean 2 and precision 10, own factor (eta 5, precision 4): C = 6, e = 20 - 5 = 15, 6 x 3 - 15 = 3."""
    own = Gaussian(torch.tensor([5.0]), torch.tensor([4.0]))
    cavity = cavity_of(torch.tensor([2.0]), torch.tensor([10.0]), own)
    assert (cavity.precision.item(), cavity.gradient.item()) == (6.0, -3.0)
    assert cavity_gradient(torch.tensor([3.0]), cavity).item() == 3.0
    alone = cavity_of(torch.tensor([2.0]), torch.tensor([10.0]), None)
    assert cavity_gradient(torch.tensor([3.0]), alone).item() == 10.0


def test_the_cavitys_gradient_is_that_of_the_quotients_negative_log_density():
    mean, precision = torch.randn(4).double(), torch.rand(4).double() + 1.0
    own, value = from_moments(*torch.rand(2, 4).double()), torch.randn(4).double().requires_grad_()
    cavity = quotient(from_moments(mean, precision), own)
    normal = torch.distributions.Normal(mean_of(cavity), cavity.precision.rsqrt())
    (expected,) = torch.autograd.grad(-normal.log_prob(value).sum(), value)
    torch.testing.assert_close(cavity_gradient(value.detach(), cavity_of(mean, precision, own)), expected)


def test_float32_keeps_the_cavitys_gradient_at_the_mean():
    """C theta and e are near 1e9 here, and their difference is 1: far below float32's rounding of either."""
    own = Gaussian(torch.tensor([1e9 + 1.0], dtype=torch.float64), torch.tensor([1e6], dtype=torch.float64))
    cavity = cavity_of(torch.tensor([1e3]), torch.tensor([2e6]), own)
    assert cavity_gradient(torch.tensor([1e3]), cavity).item() == 1.0


@pytest.mark.parametrize(
    ("rate", "damping", "expected"),
    [(1.0, 1.0, 2 * 1 + 5 + 12), (0.5, 1.0, 2 * 1 + 5 + 6), (None, 1.0, 2 * 1 + 5 + 4), (None, 0.5, 2 * 1 + 5 + 2)],
)
def test_new_factor_by_hand(rate, damping, expected):
    """mu = 1, C = 4, g = 5, H = 2, m = 3: the whole change is (4 + 2) x 2 = 12, the client's share of it 2 x 2 = 4."""
    cavity = Cavity(torch.tensor([1.0]), torch.tensor([4.0]), torch.tensor([5.0]))
    factor = new_factor(torch.tensor([3.0]), cavity, torch.tensor([2.0]), rate, damping)
    assert (factor.precision_mean.item(), factor.precision.item()) == (expected, 2.0)


def test_the_factor_has_the_losss_gradient_at_the_trained_weights():
    site, zeros = make_sites()[0], torch.zeros(3, dtype=torch.float64)
    cavity = cavity_of(zeros, torch.ones_like(zeros), None)
    trained = train(site, cavity)
    factor = new_factor(trained, cavity, torch.full_like(zeros, 7.0), rate=1.0)
    torch.testing.assert_close(factor.precision * trained - factor.precision_mean, loss_gradient(trained, site))


def test_likelihood_precision_by_hand():
    given = likelihood_precision(torch.tensor([0.0, 2.0]), 10, PrecisionScale(isotropic=0.1, curvature=3.0))
    torch.testing.assert_close(given, torch.tensor([1.0, 61.0]))
    rooted = likelihood_precision(torch.tensor([0.0, 4.0]), 10, PrecisionScale(isotropic=0.1, curvature=3.0, power=0.5))
    torch.testing.assert_close(rooted, torch.tensor([1.0, 61.0]))
