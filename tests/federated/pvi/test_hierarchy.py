import pytest
import torch

from mtmedformer_monai.federated.gaussian import Gaussian, mean_of
from mtmedformer_monai.federated.pvi import hierarchy
from mtmedformer_monai.federated.pvi.hierarchy import group_posteriors, similarity_of, widened

EVIDENCE = {"boxes": (3.0, 2.0), "labels": (-1.0, 0.5), "masks": (4.0, 5.0)}
"""{group: (precision-weighted mean, precision)} of a single weight."""


def gaussian(precision_mean: float, precision: float) -> Gaussian:
    return Gaussian(torch.tensor([precision_mean]).double(), torch.tensor([precision]).double())


SIMILARITY = torch.tensor([[1.0, 0.0, 0.4], [0.0, 1.0, 0.2], [0.4, 0.2, 1.0]], dtype=torch.float64)


def joint_posterior(center: float, precision: float, share: float, similarity: torch.Tensor | None = None):
    """Returns means and variances of the groups' means from the joint Gaussian of all of them, as one matrix."""
    num = len(EVIDENCE)
    effects = torch.eye(num, dtype=torch.float64) if similarity is None else similarity
    covariance = (1 - share) / precision * torch.ones_like(effects) + share / precision * effects
    prior = torch.linalg.inv(covariance)
    evidence = torch.tensor([value[1] for value in EVIDENCE.values()]).double()
    offset = torch.tensor([value[0] for value in EVIDENCE.values()]).double()
    posterior = torch.linalg.inv(prior + evidence.diag())
    mean = posterior @ (prior @ torch.full((num,), center).double() + offset)
    return dict(zip(EVIDENCE, zip(mean.tolist(), posterior.diagonal().tolist(), strict=True), strict=True))


@pytest.mark.parametrize("share", [0.001, 0.3, 0.7, 0.999])
def test_it_is_the_marginal_of_the_joint_posterior(share):
    evidence = {group: gaussian(*value) for group, value in EVIDENCE.items()}
    found = group_posteriors(gaussian(0.5 * 2.0, 0.5), evidence, share)
    for group, (mean, variance) in joint_posterior(2.0, 0.5, share).items():
        assert mean_of(found[group]).item() == pytest.approx(mean, rel=1e-9)
        assert found[group].precision.item() == pytest.approx(1 / variance, rel=1e-9)


@pytest.mark.parametrize("share", [0.001, 0.4, 1.0])
def test_groups_with_tasks_in_common_are_correlated(share):
    evidence = {group: gaussian(*value) for group, value in EVIDENCE.items()}
    found = group_posteriors(gaussian(0.5 * 2.0, 0.5), evidence, share, SIMILARITY)
    for group, (mean, variance) in joint_posterior(2.0, 0.5, share, SIMILARITY).items():
        assert mean_of(found[group]).item() == pytest.approx(mean, rel=1e-9)
        assert found[group].precision.item() == pytest.approx(1 / variance, rel=1e-9)


def test_correlated_groups_by_weight_are_the_same_as_each_weight_alone(monkeypatch):
    monkeypatch.setattr(hierarchy, "CHUNK", 4)
    generator = torch.Generator().manual_seed(0)
    prior = Gaussian(torch.randn(3, 5, generator=generator).double(), torch.full((3, 5), 0.5).double())
    evidence = {
        group: Gaussian(*(torch.rand(3, 5, generator=generator).double() for _ in range(2))) for group in EVIDENCE
    }
    found = group_posteriors(prior, evidence, 0.3, SIMILARITY)
    for row in range(3):
        for column in range(5):

            def one(value, place=(row, column)):
                return Gaussian(value.precision_mean[place][None], value.precision[place][None])

            alone = group_posteriors(one(prior), {g: one(value) for g, value in evidence.items()}, 0.3, SIMILARITY)
            for group, value in alone.items():
                torch.testing.assert_close(one(found[group]), value)


def test_nearly_the_same_tasks_are_nearly_one_group():
    """At a similarity of 1, both groups have the product of their evidence, even if nothing else is shared."""
    ones = torch.ones(2, 2, dtype=torch.float64)
    evidence = {"a": gaussian(3.0, 2.0), "b": gaussian(-1.0, 0.5)}
    for value in group_posteriors(gaussian(1.0, 0.5), evidence, 1.0, ones).values():
        assert (value.precision_mean.item(), value.precision.item()) == pytest.approx((3.0, 3.0))


def test_similarity_is_a_correlation():
    found = similarity_of(["lung", "lung+opacity", "box+lung+opacity", "box+finding", "finding"])
    assert found[0, 1].item() == pytest.approx(1 / 2**0.5)
    assert found[1, 2].item() == pytest.approx(2 / 6**0.5)
    assert found[0, 4].item() == 0.0
    assert torch.linalg.eigvalsh(found).min() > -1e-12


def test_no_share_between_groups_is_one_posterior():
    found = group_posteriors(gaussian(1.0, 0.5), {group: gaussian(*value) for group, value in EVIDENCE.items()}, 0.0)
    assert {(each.precision_mean.item(), each.precision.item()) for each in found.values()} == {(7.0, 8.0)}


def test_the_whole_share_between_groups_is_a_federation_per_group():
    found = group_posteriors(gaussian(1.0, 0.5), {group: gaussian(*value) for group, value in EVIDENCE.items()}, 1.0)
    assert {group: (each.precision_mean.item(), each.precision.item()) for group, each in found.items()} == {
        "boxes": (4.0, 2.5), "labels": (0.0, 1.0), "masks": (5.0, 5.5)
    }  # fmt: skip


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_single_group_has_the_same_posterior_at_any_share(share):
    found = group_posteriors(gaussian(1.0, 0.5), {"all": gaussian(3.0, 2.0)}, share)["all"]
    assert (found.precision_mean.item(), found.precision.item()) == (4.0, 2.5)


def test_a_group_without_evidence_borrows_from_the_others():
    evidence = {"masks": gaussian(8.0, 4.0), "none": gaussian(0.0, 0.0)}
    nothing, pooled = gaussian(0.0, 0.01), group_posteriors(gaussian(0.0, 0.01), evidence, 0.0)["none"]
    means = [mean_of(group_posteriors(nothing, evidence, share)["none"]).item() for share in (0.1, 0.5, 0.9)]
    assert mean_of(pooled).item() > means[0] > means[1] > means[2] > 0.0


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_of_the_unit_interval_is_refused(share):
    with pytest.raises(ValueError, match="share expects a number from 0 to 1"):
        group_posteriors(gaussian(0.0, 1.0), {"a": gaussian(0.0, 1.0), "b": gaussian(0.0, 1.0)}, share)


def test_widening_adds_variances():
    wide = widened(gaussian(6.0, 2.0), torch.tensor(1.5).double())
    assert mean_of(wide).item() == pytest.approx(3.0)
    assert 1 / wide.precision.item() == pytest.approx(0.5 + 1.5)


def test_extreme_evidence_of_similar_groups_decides_alone():
    """The linear system, whose condition is that of the precisions, would be singular."""
    prior = Gaussian(torch.zeros(2).double(), torch.full((1,), 1e-6).double())
    evidence = {
        "box": Gaussian(torch.tensor([3e18, 1.0]).double(), torch.tensor([1e18, 1.0]).double()),
        "box+lung": Gaussian(torch.zeros(2).double(), torch.zeros(2).double()),
    }
    found = group_posteriors(prior, evidence, 0.5, similarity_of(evidence))
    torch.testing.assert_close(mean_of(found["box"])[0].item(), 3.0)
    torch.testing.assert_close(found["box"].precision[0].item(), 1e18)
    assert all(bool((value.precision > 0).all()) for value in found.values())
