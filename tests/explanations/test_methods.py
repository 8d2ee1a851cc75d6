"""Properties of the methods, and of the measures that compare them."""

from __future__ import annotations

import math

import pytest
import torch

from mtmedformer_monai.explanations import deletion_curve, peak_inside
from mtmedformer_monai.explanations.perturbation import blur, occlusion, path_integral, without_detail
from mtmedformer_monai.explanations.pooling_maps import attention_weights
from mtmedformer_monai.explanations.score import Question
from mtmedformer_monai.tasks import ClassificationTask
from tests.explanations.test_explain import BRIGHT, planted, squares
from tests.networks.small import small_network


def question(network=None, task=None, index=1):
    task = task or ClassificationTask("binary", ["no", "yes"], "binary")
    return Question((network or small_network()).eval(), task, index)


def test_the_integral_adds_up_to_the_difference_of_the_log_odds():
    """Completeness (Sundararajan et al., ICML 2017, proposition 1), exact as the planted log-odds are linear."""
    asked = question(*planted())
    image = squares()[None]
    baseline = without_detail(image) * 0.5
    with torch.no_grad():
        difference = float(asked.score(image) - asked.score(baseline))
    assert float(path_integral(asked, image, baseline, 4).sum()) == pytest.approx(difference, rel=1e-3)


def test_the_integral_adds_up_for_a_transformer_too():
    """The tolerance is that of the midpoint rule: 10 % with 32 steps, 0.3 % with 128, 0.02 % with 1024."""
    asked = question(small_network().double())
    image = torch.rand(1, 1, 64, 64, dtype=torch.float64)
    baseline = without_detail(image)
    with torch.no_grad():
        difference = float(asked.score(image) - asked.score(baseline))
    assert float(path_integral(asked, image, baseline, 128).sum()) == pytest.approx(difference, rel=0.02)


def test_the_score_is_the_log_odds_of_the_networks_probability():
    asked = question(task=ClassificationTask("multiclass", ["a", "b", "c"]), index=2)
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        probs = asked.network(image)["multiclass"].softmax(dim=1)[:, 2]
        torch.testing.assert_close(asked.score(image).float(), torch.log(probs / (1 - probs)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "logits", "index", "expected"),
    [
        ("binary", [50.0], 1, 50.0),
        ("binary", [50.0], 0, -50.0),
        ("multilabel", [50.0, 1.0], 0, 50.0),
        ("multiclass", [50.0, 0.0, 0.0], 0, 50.0 - math.log(2.0)),
        ("ordinal", [0.0], 1, 0.0),
    ],
    ids=["binary", "the other", "label", "class", "ordinal"],
)
def test_log_odds_have_a_gradient_where_the_network_is_certain(kind, logits, index, expected):
    classes = ["a", "b", "c"] if kind == "multiclass" else ["a", "b"]
    given = torch.tensor([logits], requires_grad=True)
    odds = question(task=ClassificationTask("shade", classes, kind), index=index).log_odds(given)
    assert odds.item() == pytest.approx(expected, abs=1e-6)
    assert torch.autograd.grad(odds.sum(), given)[0].abs().max() == pytest.approx(1.0)


def test_attention_weights_are_a_density_of_mean_1_over_the_image():
    """They sum to 1 over tokens, and each token's weight is spread over its cell, so the mean over pixels is 1."""
    image = torch.rand(1, 1, 64, 96)
    assert float(attention_weights(question(), image).mean()) == pytest.approx(1.0, abs=0.02)


def test_occlusion_marks_nothing_where_hiding_changes_nothing():
    network, task = planted()
    assert not occlusion(question(network, task), torch.full((1, 1, 64, 64), 0.75)).abs().gt(1e-4).any()


def test_a_blur_keeps_a_constant_and_the_sum_of_a_point():
    torch.testing.assert_close(blur(torch.full((1, 1, 20, 30), 0.3), 2.0), torch.full((1, 1, 20, 30), 0.3))
    point = torch.zeros(1, 1, 41, 41)
    point[0, 0, 20, 20] = 1.0
    blurred = blur(point, 3.0)[0, 0]
    assert float(blurred.sum()) == pytest.approx(1.0, abs=1e-5)
    assert float(blurred[20, 23] / blurred[20, 20]) == pytest.approx(0.6065, abs=1e-3)  # exp(-1/2)


def test_deleting_the_evidence_lowers_the_probability_sooner_than_deleting_the_rest():
    network, task = planted()
    image = squares()
    evidence = torch.zeros(64, 96)
    evidence[BRIGHT] = 1.0
    asked = question(network, task)
    first, last = deletion_curve(asked, image[None], evidence), deletion_curve(asked, image[None], -evidence)
    assert len(first) == 11
    with torch.no_grad():
        assert float(first[0]) == float(last[0]) == pytest.approx(float(asked.score(image[None]).sigmoid()))
    torch.testing.assert_close(first[-1], last[-1])  # everything is deleted
    assert float(first[1:-1].mean()) < float(last[1:-1].mean())


def test_the_peak_counts_where_it_is_highest():
    outline = torch.zeros(4, 4, dtype=torch.bool)
    outline[1, 2] = True
    found = torch.zeros(4, 4)
    found[1, 2] = 0.6
    assert peak_inside(found, outline)
    found[3, 3] = 0.7
    assert not peak_inside(found, outline)
