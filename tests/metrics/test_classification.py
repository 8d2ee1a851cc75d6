import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, roc_auc_score

from mtmedformer_monai.metrics import ClassificationMetric


def metrics_of(kind: str, probs: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    metric = ClassificationMetric([f"c{k}" for k in range(probs.shape[1])], kind)
    metric.update(probs[:3], target[:3])
    metric.update(probs[3:], target[3:])
    return metric.compute()


def test_binary_by_hand():
    # Positives score .9 and .4, negatives .6 and .1: 3 of 4 pairs are ordered correctly. At .5: one TP, FN and FP each.
    second = torch.tensor([0.9, 0.4, 0.6, 0.1])
    metrics = metrics_of("binary", torch.stack([1 - second, second], 1), torch.tensor([1.0, 1, 0, 0]))
    assert metrics["auc"] == pytest.approx(0.75)
    assert metrics["accuracy"] == pytest.approx(0.5)
    assert metrics["f1"] == pytest.approx(0.5)
    # Confidences .9 (right), .6 (wrong), .6 (wrong), .9 (right): (2 * .1 + 2 * .6) / 4.
    assert metrics["ece"] == pytest.approx(0.35, abs=1e-6)


@pytest.mark.parametrize("kind", ["multiclass", "ordinal"])
def test_exclusive_classes_agree_with_scikit_learn(kind):
    torch.manual_seed(0)
    probs, target = torch.rand(60, 4).softmax(1), torch.randint(0, 4, (60,)).float()
    metrics, chosen = metrics_of(kind, probs, target), probs.argmax(1)
    assert metrics["auc"] == pytest.approx(roc_auc_score(target, probs, multi_class="ovr"), abs=1e-6)
    assert metrics["f1"] == pytest.approx(f1_score(target, chosen, average="macro"))
    assert metrics["accuracy"] == pytest.approx(accuracy_score(target, chosen))
    if kind == "ordinal":
        assert metrics["kappa"] == pytest.approx(cohen_kappa_score(target, chosen, weights="quadratic"))
        assert metrics["mae"] == pytest.approx((chosen - target).abs().mean().item())


def test_multilabel_agrees_with_scikit_learn_label_by_label():
    torch.manual_seed(1)
    probs, target = torch.rand(40, 3), (torch.rand(40, 3) > 0.5).float()
    target[:7, 1] = torch.nan
    metrics = metrics_of("multilabel", probs, target)
    columns = [(target[7:, 1], probs[7:, 1]), (target[:, 0], probs[:, 0]), (target[:, 2], probs[:, 2])]
    assert metrics["auc"] == pytest.approx(np.mean([roc_auc_score(t, p) for t, p in columns]))
    assert metrics["f1"] == pytest.approx(np.mean([f1_score(t, p >= 0.5) for t, p in columns]))
    right = torch.cat([(p >= 0.5) == (t > 0.5) for t, p in columns])
    assert metrics["accuracy"] == pytest.approx(right.float().mean().item())


def test_missing_labels_contribute_nothing():
    probs, target = torch.rand(6, 2).softmax(1), torch.tensor([0.0, 1, 0, 1, 1, 0])
    with_missing = metrics_of(
        "binary", torch.cat([torch.rand(2, 2), probs]), torch.cat([torch.tensor([torch.nan] * 2), target])
    )
    assert with_missing == metrics_of("binary", probs, target)


def test_undefined_metrics_are_nan():
    metrics = metrics_of("binary", torch.tensor([[0.9, 0.1]] * 4), torch.zeros(4))
    assert math.isnan(metrics["auc"])
    assert metrics["accuracy"] == 1.0
    metrics = metrics_of("ordinal", torch.rand(4, 3), torch.full((4,), torch.nan))
    assert metrics.pop("cases") == 0
    assert all(math.isnan(value) for value in metrics.values())


def test_cases_are_those_of_the_rarest_class():
    assert metrics_of("binary", torch.rand(5, 2), torch.tensor([0.0, 0, 0, 1, torch.nan]))["cases"] == 1
    assert metrics_of("multiclass", torch.rand(5, 3), torch.tensor([0.0, 0, 2, 2, 2]))["cases"] == 2
    labels = torch.tensor(
        [[1.0, 0], [1, 0], [0, 0], [0, 0]]
    )  # the second label never occurs: it has no AUC and is ignored
    assert metrics_of("multilabel", torch.rand(4, 2), labels)["cases"] == 2


def test_invalid_shapes_are_refused():
    with pytest.raises(ValueError, match=r"kind expects one of binary.*got 'nominal'"):
        ClassificationMetric(["a", "b"], "nominal")
    with pytest.raises(ValueError, match=r"binary task expects probs \(4, 2\).*\(4, 1\)"):
        ClassificationMetric(["a", "b"], "binary").update(torch.zeros(4, 1), torch.zeros(4))
