import pytest
import torch

from mtmedformer_monai.tasks import ClassificationTask, DetectionTask
from mtmedformer_monai.tasks.operating import class_scores, decide, decided_classes

BINARY = {"normal": 0.7, "pneumonia": 0.3}


@pytest.mark.parametrize(
    ("kind", "probs", "thresholds", "expected"),
    [
        ("binary", BINARY, {}, {"class": "normal"}),
        ("binary", BINARY, {"pneumonia": 0.3}, {"class": "pneumonia"}),
        ("binary", BINARY, {"pneumonia": 0.300001}, {"class": "normal"}),
        ("multilabel", {"a": 0.4, "b": 0.6}, {"a": 0.4}, {"classes": ["a", "b"]}),
        ("multilabel", {"a": 0.4, "b": 0.6}, {"b": 0.7}, {"classes": []}),
        ("multiclass", {"n": 0.5, "b": 0.2, "m": 0.3}, {"b": 0.3, "m": 0.3}, {"class": "n", "flagged": ["m"]}),
        ("ordinal", {"A": 0.5, "B": 0.2, "C": 0.3}, {"B": 0.5, "C": 0.4}, {"class": "A", "flagged": ["B"]}),
    ],
    ids=["likeliest", "reached", "missed", "label", "no label", "multiclass", "ordinal: B or C has 0.5"],
)
def test_decisions(kind, probs, thresholds, expected):
    used = {"thresholds": thresholds} if thresholds else {}
    assert decide(kind, probs, thresholds) == expected | used


def test_an_ordinal_case_at_its_own_threshold_reaches_it():
    """The exact score is 3 times 0.1000004 and the threshold is rounded down from it; rounded, they sum to 0.3."""
    probs = {"A": 0.699999, "B": 0.1, "C": 0.1, "D": 0.1}
    assert decide("ordinal", probs, {"B": 0.300001})["flagged"] == ["B"]
    assert decide("ordinal", probs, {"B": 0.300003})["flagged"] == []


def test_scores_of_ordinal_classes_are_those_of_this_or_a_higher_one():
    probs = torch.tensor([[0.1, 0.2, 0.7]])
    torch.testing.assert_close(class_scores("ordinal", probs), torch.tensor([[1.0, 0.9, 0.7]]))
    assert class_scores("multiclass", probs) is probs


def test_the_reference_class_has_no_threshold():
    assert decided_classes("multiclass", ["normal", "benign"]) == ["benign"]
    assert decided_classes("multilabel", ["a", "b"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("kind", "num_logits"), [("binary", 1), ("multiclass", 3), ("multilabel", 3), ("ordinal", 2)], ids=lambda v: str(v)
)
def test_a_temperature_divides_the_logits_and_the_loss_stays(kind, num_logits):
    classes = ["a", "b", "c"][: 2 if kind == "binary" else 3]
    task, logits = ClassificationTask("t", classes, kind), torch.randn(4, num_logits)
    calibrated = task.calibrate(2.0, {})
    torch.testing.assert_close(calibrated.activate(logits), task.activate(logits / 2))
    target = torch.ones(4, 3) if kind == "multilabel" else torch.ones(4)
    assert calibrated.loss(logits, target) == task.loss(logits, target)
    half = task.negative_log_likelihood(logits / 2, target)
    torch.testing.assert_close(calibrated.negative_log_likelihood(logits, target), half)
    assert task.temperature is None
    assert not task.describe(task.activate(logits)[0])["calibrated"]
    assert calibrated.describe(calibrated.activate(logits)[0])["calibrated"]


def test_samples_are_averaged_as_calibrated_probabilities():
    task = ClassificationTask("t", ["a", "b", "c"]).calibrate(3.0, {})
    samples = 4.0 * torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0))
    joint, measures = task.combine_samples(samples)
    probs = (samples / 3.0).softmax(dim=-1)
    torch.testing.assert_close(task.activate(joint), probs.mean(dim=0))
    torch.testing.assert_close(measures["std"], probs.std(dim=0))


def test_boxes_are_reported_by_the_threshold_of_their_class():
    task = DetectionTask("box", ["mass", "node"])
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [10.0, 10.0, 14.0, 14.0], [20.0, 20.0, 24.0, 24.0]])
    scores = torch.tensor([[0.5, 0.0], [0.0, 0.5], [0.04, 0.0]])
    output = torch.cat([boxes, torch.zeros(3, 3), scores], dim=1)

    def found(task):
        return [box["box"][0] for box in task.describe(output)["boxes"]]

    assert found(task) == [0, 10]
    assert found(task.calibrate(None, {"mass": 0.03, "node": 0.6})) == [0, 20]
    assert task.calibrate(None, {"mass": 0.03}).describe(output)["thresholds"] == {"mass": 0.03}


@pytest.mark.parametrize(
    ("task", "temperature", "thresholds", "match"),
    [
        (ClassificationTask("t", ["a", "b"], "binary"), 0.0, {}, "temperature above 0"),
        (ClassificationTask("t", ["a", "b"], "binary"), float("nan"), {}, "temperature above 0"),
        (ClassificationTask("t", ["a", "b"], "binary"), 1.0, {"a": 0.5}, r"out of \['b'\], got \['a'\]"),
        (ClassificationTask("t", ["a", "b"], "binary"), 1.0, {"b": 1.5}, "threshold of 0 to 1 for 'b'"),
        (DetectionTask("t", ["a"]), 1.0, {}, "expects no temperature"),
    ],
    ids=["zero", "nan", "reference", "range", "boxes"],
)
def test_wrong_calibrations_are_refused(task, temperature, thresholds, match):
    with pytest.raises(ValueError, match=match):
        task.calibrate(temperature, thresholds)
