import pytest
import torch

from mtmedformer_monai.federated.gaussian import Gaussian, from_moments, mean_of
from mtmedformer_monai.federated.pvi.posterior import Accumulator, damp_factor, divide, means
from mtmedformer_monai.federated.pvi.site_round import (
    EvidenceScale,
    change_of,
    evidence,
    new_factor,
    pull_at,
    pull_gradient,
    pull_loss,
    pull_of,
)

SIZES = (40, 15, 80)
PRIOR_PRECISION = 0.5


def make_sites(seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Logistic data of three unlike sites: inputs (N, 3), labels (N,)."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.tensor([1.5, -1.0, 0.3], dtype=torch.float64)
    sites = []
    for index, size in enumerate(SIZES):
        inputs = torch.randn(size, 3, generator=generator, dtype=torch.float64) * (1 + index) * 0.7
        inputs[:, 0] += index - 1  # each site sees another part of the inputs
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


def train(site, cavity: Gaussian, start: torch.Tensor) -> torch.Tensor:
    """The site's optimum beside the pull of the others, by Newton's method."""
    weights = start.clone()
    for _ in range(8):
        gradient = loss_gradient(weights, site) + pull_gradient(weights, cavity)
        weights -= torch.linalg.solve(curvature(weights, site) + torch.diag(cavity.precision), gradient)
    return weights


def pooled_optimum(sites) -> torch.Tensor:
    everything = tuple(torch.cat(parts) for parts in zip(*sites, strict=True))
    prior = from_moments(torch.zeros(3, dtype=torch.float64), torch.full((3,), PRIOR_PRECISION, dtype=torch.float64))
    return train(everything, prior, torch.zeros(3, dtype=torch.float64))


def federate(sites, precision_of, rounds: int, rate: float) -> torch.Tensor:
    prior = {"w": from_moments(torch.zeros(3, dtype=torch.float64), torch.full((3,), PRIOR_PRECISION).double())}
    accumulator, factors = Accumulator(prior), [{} for _ in sites]
    for _ in range(rounds):
        posterior = accumulator.posterior()
        changes = []
        for index, site in enumerate(sites):
            cavity = divide(posterior, factors[index])["w"]
            trained = train(site, cavity, mean_of(posterior["w"]))
            new = new_factor({"w": trained}, {"w": precision_of(trained, site)}, posterior, factors[index])
            stepped = damp_factor(factors[index], new, rate)
            changes.append(change_of(stepped, factors[index]))
            factors[index] = stepped
        for change in changes:
            accumulator.add(change)
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
def test_the_fixed_point_is_the_pooled_optimum_whatever_the_precisions(precision_of):
    sites = make_sites()
    reached = federate(sites, precision_of, rounds=170, rate=0.5)
    torch.testing.assert_close(reached, pooled_optimum(sites), rtol=0, atol=1e-6)


def test_averaging_without_memory_stalls_elsewhere():
    """What the memory of the sites is for: each trained alone, averaged by its number of samples (FedAvg)."""
    sites = make_sites()
    flat = Gaussian(torch.zeros(3, dtype=torch.float64), torch.full((3,), 1e-6, dtype=torch.float64))
    trained = [train(site, flat, torch.zeros(3, dtype=torch.float64)) for site in sites]
    average = sum(size * weights for size, weights in zip(SIZES, trained, strict=True)) / sum(SIZES)
    assert (average - pooled_optimum(sites)).abs().max() > 0.05


def test_pull_and_its_gradient_agree():
    cavity = {"w": from_moments(torch.randn(4), torch.rand(4) + 0.1)}
    weights = torch.randn(4, requires_grad=True)
    pull_loss({"w": weights, "unknown": torch.randn(2)}, cavity).backward()
    torch.testing.assert_close(weights.grad, pull_gradient(weights.detach(), cavity["w"]))
    torch.testing.assert_close(pull_gradient(mean_of(cavity["w"]), cavity["w"]), torch.zeros(4), rtol=0, atol=1e-6)


def test_the_centered_pull_is_the_same_pull():
    mean, precision, own = (
        torch.randn(4).double(),
        torch.rand(4).double() + 1.0,
        from_moments(*torch.rand(2, 4).double()),
    )
    cavity = divide({"w": from_moments(mean, precision)}, {"w": own})["w"]
    value = torch.randn(4).double()
    torch.testing.assert_close(pull_at(value, pull_of(mean, precision, own)), pull_gradient(value, cavity))
    alone = pull_of(mean, precision, None)
    torch.testing.assert_close(pull_at(value, alone), precision * (value - mean))


def test_the_factor_has_the_losss_gradient_at_the_trained_weights():
    site = make_sites()[0]
    prior = {"w": from_moments(torch.zeros(3).double(), torch.ones(3).double())}
    trained = train(site, prior["w"], torch.zeros(3).double())
    factor = new_factor({"w": trained}, {"w": torch.full((3,), 7.0).double()}, prior, {})["w"]
    torch.testing.assert_close(factor.precision * trained - factor.shift, loss_gradient(trained, site))


def test_evidence_by_hand():
    given = evidence(torch.tensor([0.0, 2.0]), 10, EvidenceScale(isotropic=0.1, curvature=3.0))
    torch.testing.assert_close(given, torch.tensor([1.0, 61.0]))
    rooted = evidence(torch.tensor([0.0, 4.0]), 10, EvidenceScale(isotropic=0.1, curvature=3.0, power=0.5))
    torch.testing.assert_close(rooted, torch.tensor([1.0, 61.0]))


def test_nothing_to_pull_is_nothing():
    assert pull_loss({"w": torch.ones(2)}, {}).item() == 0.0
