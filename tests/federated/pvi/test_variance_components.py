import math

import pytest
import torch

from mtmedformer_monai.federated.pvi.variance_components import Components, GroupMoments, estimate, moments

SIZE = 20_000
"""Number of weights of a tensor; estimates are means over them."""


def draw(seed: int, noise: float, within: float, between: float, groups: dict[str, list[float]]):
    """Returns the moments of clients drawn from the model.

    groups: {group: precision of each client}. Variances in units of the inverse precision, as in `Components`.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(variance: float) -> torch.Tensor:
        return math.sqrt(variance) * torch.randn(SIZE, generator=generator, dtype=torch.float64)

    found = {}
    for name, precisions in groups.items():
        mean, start = normal(noise * between), torch.zeros(SIZE, dtype=torch.float64)
        sums, weighted = torch.zeros(9, dtype=torch.float64), torch.zeros(SIZE, dtype=torch.float64)
        for precision in precisions:
            step = mean + normal(noise * within) + normal(noise / precision)
            weight = precision / (1 + 0.5 * precision)
            sums += moments(weight, precision, noise / precision, float(step.square().mean()), 1.0).double()
            weighted += weight * step
        found[name] = GroupMoments(sums, start, weighted)
    return found


@pytest.mark.parametrize(
    ("noise", "within", "between"), [(1.0, 0.0, 0.0), (0.01, 2.0, 0.0), (4.0, 0.0, 3.0), (0.2, 1.0, 5.0)]
)
def test_drawn_variances_are_recovered(noise, within, between):
    groups = {"boxes": [2.0, 5.0, 1.0], "labels": [0.5, 3.0], "masks": [1.0, 4.0, 4.0], "single": [2.0]}
    found = [estimate(draw(seed, noise, within, between, groups)) for seed in range(4)]
    assert all(each.noise == pytest.approx(noise, rel=1e-5) for each in found)
    assert sum(each.within for each in found) / 4 == pytest.approx(within, abs=0.05)
    assert sum(each.between for each in found) / 4 == pytest.approx(between, rel=0.05, abs=0.05)


def test_two_clients_by_hand():
    """Steps 1 and 3 of precision 2 each, noise 0.25: the mean is 2, squares around it 2 (1 + 1) = 4.

    E = 0.25 (1 + 1 - 1) + within (4 - 8 / 4), so within is (4 - 0.25) / 2, that is 7.5 in units of the noise.
    """
    sums = sum(moments(2.0, 2.0, 0.125, step**2, 1.0).double() for step in (1.0, 3.0))
    found = estimate({"g": GroupMoments(sums, torch.zeros(1), torch.tensor([2.0 * 1.0 + 2.0 * 3.0]))})
    assert (found.noise, found.within, found.between) == pytest.approx((0.25, 7.5, 0.0))


def test_single_clients_show_no_variance_within():
    found = estimate(draw(0, 0.5, 3.0, 0.0, {"a": [1.0], "b": [1.0], "c": [1.0]}))
    assert found.within == 0.0
    assert found.between == pytest.approx(3.0, rel=0.1)


def test_without_iterates_differences_within_a_group_are_noise():
    groups = {}
    for name, mean in (("a", 0.0), ("b", 10.0)):
        sums = sum(moments(1.0, 1.0, 0.0, (mean + step) ** 2, 1.0).double() for step in (-1.0, 1.0))
        groups[name] = GroupMoments(sums, torch.zeros(1), torch.tensor([2 * mean]))
    found = estimate(groups)
    assert found.within == 0.0
    # the noise is 2 (1 + 1) / 2 = 2, the group means have the variance 1, and Q = 50 / 1 with one degree of freedom:
    # between = (50 - 1) / (2 - 2 / 2) = 49, that is 24.5 in units of the noise
    assert found.between == pytest.approx(24.5)


def test_a_client_that_did_not_measure_its_iterates_leaves_the_noise_to_the_others():
    """The clients by hand above; a third one at their mean adds nothing to the squares, nor to the noise.

    E = 0.25 (3 - 6 / 6) + within (6 - 12 / 6) = 0.5 + 4 within, so within is 3.5 / 4, or 3.5 in units of the noise.
    """
    clients = [(1.0, 0.125), (3.0, 0.125), (2.0, 0.0)]
    sums = sum(moments(2.0, 2.0, noise, step**2, 1.0).double() for step, noise in clients)
    found = estimate({"g": GroupMoments(sums, torch.zeros(1), torch.tensor([2.0 * (1.0 + 3.0 + 2.0)]))})
    assert (found.noise, found.within) == pytest.approx((0.25, 3.5))


def test_a_client_of_zero_precision_counts_for_nothing():
    assert moments(0.0, 0.0, 1.0, 1.0, 1.0).tolist() == [0.0] * 9
    assert estimate({"a": GroupMoments(torch.zeros(9), torch.zeros(1), torch.zeros(1))}).between == 0.0


def test_sums_that_leave_no_noise_between_two_clients_are_no_division_by_zero():
    """Two clients state as much precision as a single one would: 1 - 1 / 1."""
    sums = torch.tensor([2.0, 1.0, 1.0, 1.0, 1.0, 0.0, 5.0, 1.0, 0.0])
    groups = {name: GroupMoments(sums, torch.zeros(1), torch.zeros(1)) for name in ("masks", "boxes")}
    assert estimate(groups) == Components(1.0, 0.0, 0.0)
