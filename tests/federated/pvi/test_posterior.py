import itertools

import pytest
import torch

from mtmedformer_monai.federated.gaussian import Gaussian, from_moments, mean_of
from mtmedformer_monai.federated.pvi.posterior import Accumulator, means, multiply


def factor(seed: int, names=("encoder", "lung")) -> dict[str, Gaussian]:
    generator = torch.Generator().manual_seed(seed)
    values = {}
    for name in names:
        mean = torch.randn(3, 2, generator=generator)
        values[name] = from_moments(mean, torch.rand(3, 2, generator=generator) + 0.5)
    return values


def prior(names=("encoder", "lung", "opacity")) -> dict[str, Gaussian]:
    return {name: from_moments(torch.zeros(3, 2), torch.full((3, 2), 0.05)) for name in names}


def negative(factor) -> dict[str, Gaussian]:
    """Returns the change that removes a factor."""
    return {name: Gaussian(-value.precision_mean, -value.precision) for name, value in factor.items()}


def added(*factors) -> dict[str, Gaussian]:
    accumulator = Accumulator(prior())
    for change in factors:
        accumulator.add(change)
    return accumulator.posterior()


def assert_same(left, right):
    assert set(left) == set(right)
    for name in left:
        assert all(map(torch.equal, left[name], right[name])), name


def test_any_order_of_sites_gives_equal_bits():
    sites = [factor(seed) for seed in range(4)]
    expected = added(*sites)
    for order in itertools.permutations(sites):
        assert_same(added(*order), expected)


def test_any_grouping_of_sites_gives_the_same():
    sites = [factor(seed) for seed in range(4)]
    pairs = multiply(sites[0], sites[1]), multiply(sites[2], sites[3])
    for name, value in added(*pairs).items():  # pairs were summed in float32, which rounds
        torch.testing.assert_close(value.precision_mean, added(*sites)[name].precision_mean, rtol=1e-6, atol=1e-6)


def test_a_task_that_no_site_trained_keeps_its_prior_bit_for_bit():
    posterior = added(factor(0), factor(1))
    assert_same({"opacity": posterior["opacity"]}, {"opacity": Gaussian(*(v.double() for v in prior()["opacity"]))})


def test_the_prior_is_counted_once():
    posterior = added(factor(0), factor(1), factor(2))
    expected = sum(factor(seed)["lung"].precision.double() for seed in range(3)) + prior()["lung"].precision.double()
    torch.testing.assert_close(posterior["lung"].precision, expected, rtol=0, atol=0)


def test_equal_precisions_without_prior_give_the_weighted_average_exactly():
    sizes, weights = [3.0, 5.0, 8.0], [torch.randn(3, 2) for _ in range(3)]
    nothing = {"w": from_moments(torch.zeros(3, 2), torch.full((3, 2), 1e-300, dtype=torch.float64))}
    accumulator = Accumulator(nothing)
    for size, weight in zip(sizes, weights, strict=True):
        accumulator.add({"w": from_moments(weight.double(), torch.full((3, 2), size, dtype=torch.float64))})
    average = sum(size * weight.double() for size, weight in zip(sizes, weights, strict=True)) / sum(sizes)
    assert torch.equal(means(accumulator.posterior())["w"], average)


def test_a_site_that_leaves_takes_what_it_brought():
    accumulator = Accumulator(prior())
    for seed in range(3):
        accumulator.add(factor(seed))
    accumulator.add(negative(factor(1)))
    assert_same(accumulator.posterior(), added(factor(0), factor(2)))


def test_precision_below_the_priors_falls_back_to_the_last_sane_mean():
    accumulator = Accumulator(prior())
    accumulator.add(factor(0))
    sane = means(accumulator.posterior())
    accumulator.add({"lung": Gaussian(-torch.ones(3, 2), torch.full((3, 2), -100.0))})
    posterior = accumulator.posterior()
    torch.testing.assert_close(means(posterior)["lung"], sane["lung"])
    assert (posterior["lung"].precision == prior()["lung"].precision.double()).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"heart": factor(0)["lung"]}, KeyError, "'heart' is not in the posterior"),
        ({"lung": Gaussian(torch.ones(2), torch.ones(2))}, ValueError, r"expects the shape \(3, 2\), got \(2,\)"),
        ({"lung": Gaussian(torch.full((3, 2), torch.nan), torch.ones(3, 2))}, ValueError, "training diverged"),
    ],
    ids=["unknown", "shape", "not finite"],
)
def test_a_change_that_does_not_fit_is_refused_whole(change, error, message):
    accumulator = Accumulator(prior())
    before = accumulator.posterior()
    with pytest.raises(error, match=message):
        accumulator.add({"encoder": factor(0)["encoder"], **change})
    assert_same(accumulator.posterior(), before)


def test_it_resumes_after_restoring():
    accumulator, other = Accumulator(prior()), Accumulator(prior())
    accumulator.add(factor(0))
    accumulator.posterior()
    other.load_state_dict(accumulator.state_dict())
    for each in (accumulator, other):
        each.add(factor(1))
    assert_same(accumulator.posterior(), other.posterior())


def test_any_prior_leaves_the_order_without_effect():
    """The prior need not be representable in float32: it is added once, to the sum of factors."""
    center = {"encoder": from_moments(torch.randn(3, 2).double(), torch.full((3, 2), 0.05, dtype=torch.float64))}
    changes, results = [factor(seed, ("encoder",)) for seed in range(4)], []
    for order in itertools.permutations(changes):
        accumulator = Accumulator(center)
        for change in order:
            accumulator.add(change)
        results.append(accumulator.posterior())
    for result in results:
        assert_same(result, results[0])


def test_precision_that_rounding_left_missing_is_no_reason_to_fall_back():
    """After all clients have withdrawn, the prior's mean is restored, though slightly too much was subtracted."""
    accumulator = Accumulator(prior())
    accumulator.add(factor(0))
    accumulator.posterior()
    rounded = {name: Gaussian(value.precision_mean, value.precision * (1 + 1e-6)) for name, value in factor(0).items()}
    accumulator.add(negative(rounded))
    posterior = accumulator.posterior()
    assert_same(posterior, added())


def test_a_state_of_an_earlier_version_resumes_within_a_round():
    """It listed the sums before the round of the weights with changes alone, `[]` for those without a sum before."""
    accumulator, other = Accumulator(prior()), Accumulator(prior())
    accumulator.add(factor(0, ("encoder",)))
    accumulator.end_round()
    accumulator.add(factor(1, ("lung",)))
    state = accumulator.state_dict()
    assert state["before"][""]["lung"] == []
    del state["before"][""]["encoder"]
    other.load_state_dict(state)
    for each in (accumulator, other):
        each.add(factor(2))
    for name, seeds in (("encoder", (2,)), ("lung", (1, 2))):
        expected = sum(
            factor(seed, (name,) if seed < 2 else ("encoder", "lung"))[name].precision.double() for seed in seeds
        )
        for each in (accumulator, other):
            torch.testing.assert_close(each.change_of_round(name, "").precision, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("share", "center"), [(1.0, 1.0), (0.0, -0.5)], ids=["no pooling", "full pooling"])
def test_a_group_that_joins_has_its_mean_where_it_starts(share, center):
    """A group of precision 3 is 2 from its prior's mean. With full pooling, all groups are 3 * 2 / (1 + 3) from theirs.

    Without pooling, nothing follows for others.
    """
    one = torch.ones(1)
    accumulator = Accumulator({"w": from_moments(10.0 * one, one)}, {"lung": {"w": 4.0 * one}})
    accumulator.add({"w": from_moments(6.0 * one, 3.0 * one)}, "lung")
    accumulator.end_round()
    accumulator.add({"w": from_moments(7.0 * one, 1e-9 * one)}, "box")
    accumulator.place_newcomers("w", lambda group: one, share)
    assert accumulator.center("w", "box").item() == pytest.approx(center)
    accumulator.group_posteriors("w", share)
    assert accumulator.mean("w", "box").item() == pytest.approx(1.0)
    accumulator.place_newcomers("w", lambda group: 5.0 * one, share)  # of the next rounds
    assert accumulator.center("w", "box").item() == pytest.approx(center)


def test_a_mean_beyond_all_weights_falls_back_to_the_last_sane_one():
    """A factor of almost no precision, beside a prior of 0.05."""
    accumulator = Accumulator(prior(["encoder"]))
    accumulator.add({"encoder": Gaussian(torch.full((3, 2), 1e18), torch.full((3, 2), 1e-6))})
    found = accumulator.group_posteriors("encoder", 0.0)[""]
    assert float(mean_of(found).abs().max()) == 0.0
    torch.testing.assert_close(found.precision.float(), torch.full((3, 2), 0.05))
