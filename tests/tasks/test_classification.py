import pytest
import torch
from torch import nn

from mtmedformer_monai.keys import LABELS
from mtmedformer_monai.tasks import ClassificationTask
from mtmedformer_monai.tasks.classification import AttentionPooling

CHANNELS = (8, 12, 16)


def test_pooling_looks_at_all_places_alike():
    torch.manual_seed(0)
    pooling = AttentionPooling(CHANNELS, 3, width=8).eval()
    features = [torch.rand(2, count, 8 // 2**i, 8 // 2**i) for i, count in enumerate(CHANNELS)]
    pyramid = [torch.rand(2, 8, 8 // 2**i, 8 // 2**i) for i in range(3)]
    logits = pooling(features, pyramid, (32, 32))
    turned = pooling([each.rot90(1, (2, 3)) for each in features], [each.flip(3) for each in pyramid], (32, 32))
    assert logits.shape == (2, 3)
    assert torch.allclose(logits, turned, atol=1e-5)
    for index, changes in ((0, False), (1, True), (2, True)):
        moved = [each + torch.rand_like(each) * (place == index) for place, each in enumerate(features)]
        assert torch.allclose(pooling(moved, pyramid, (32, 32)), logits, atol=1e-6) is not changes


def test_attention_equals_torchs_own():
    torch.manual_seed(0)
    pooling, tokens = AttentionPooling(CHANNELS, 3, width=8, num_heads=2).eval(), torch.randn(3, 10, 16)
    pooling.query.data *= 50  # so that the shares are far from even
    theirs = nn.MultiheadAttention(16, num_heads=2, batch_first=True)
    theirs.in_proj_weight.data = torch.cat([torch.eye(16), pooling.key_value.weight.data])
    theirs.in_proj_bias.data = torch.cat([torch.zeros(16), pooling.key_value.bias.data])
    theirs.out_proj.load_state_dict(pooling.output.state_dict())
    expected = theirs(pooling.query.expand(3, -1, -1), tokens, tokens)[0][:, 0]
    assert torch.allclose(pooling.pool(tokens, None), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "ordinal"])
def test_half_precision_costs_no_more_than_its_rounding(kind):
    torch.manual_seed(0)
    task = ClassificationTask("t", ["a", "b"], kind)
    logits, target = torch.randn(4, task.num_logits), torch.tensor([0.0, 1, 1, 0])
    target = target[:, None].expand(-1, 2) if kind == "multilabel" else target
    assert task.loss(logits.half(), target).item() == pytest.approx(task.loss(logits, target).item(), rel=1e-2)
    assert task.activate(logits.half()).dtype == torch.float32


def test_targets_out_of_range_are_refused():
    task = ClassificationTask("density", ["a", "b", "c", "d"], "ordinal")
    with pytest.raises(ValueError, match=r"task 'density' expects targets in 0\.\.3, got 7; specify labels by name"):
        task.loss(torch.zeros(2, 3), torch.tensor([7.0, float("nan")]))
    with pytest.raises(ValueError, match=r"expects targets in 0\.\.1, got -1"):
        ClassificationTask("t", ["a", "b"], "multilabel").loss(torch.zeros(1, 2), torch.tensor([[-1.0, 0]]))


def test_labels_are_encoded_by_name_and_may_be_missing():
    task = ClassificationTask("finding", ["normal", "pneumonia"], "binary")
    assert task.encode_target({LABELS: {"finding": "pneumonia"}}, (1, 1)).item() == 1.0
    for item in ({}, {LABELS: None}, {LABELS: {"other": "x"}}):
        assert task.encode_target(item, (1, 1)).isnan()
    with pytest.raises(ValueError, match=r"task 'finding': label 'Normal' is not one of the classes"):
        task.encode_target({LABELS: {"finding": "Normal"}}, (1, 1))
    several = ClassificationTask("t", ["a", "b"], "multilabel")
    assert several.encode_target({}, (1, 1)).isnan().tolist() == [True, True]


def test_findings_are_named():
    task = ClassificationTask("t", ["a", "b"], "binary")
    assert task.describe(torch.tensor([0.25, 0.75])) == {
        "probs": {"a": 0.25, "b": 0.75},
        "class": "b",
        "calibrated": False,
    }
    several = ClassificationTask("t", ["a", "b"], "multilabel")
    assert several.describe(torch.tensor([0.5, 0.25]))["classes"] == ["a"]


@pytest.mark.parametrize(
    ("classes", "kind", "message"),
    [
        (["a", "b", "c"], "binary", "task 't': a binary task expects 2 classes, got 3; use kind 'multiclass'"),
        (["a"], "multiclass", "expects 2 or more classes, got 1"),
        (["a"], "ordinal", "expects 2 or more classes in order, got 1"),
        (["a", "a"], "multilabel", "classes with different names"),
        (["a", "b"], "ranking", "kind to be one of .*'ordinal'.* got 'ranking'"),
    ],
)
def test_refuses_classes_that_do_not_fit(classes, kind, message):
    with pytest.raises(ValueError, match=message):
        ClassificationTask("t", classes, kind)
