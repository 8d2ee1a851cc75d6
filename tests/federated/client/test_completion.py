"""Gates by hand: logits are chosen such that their probabilities are known."""

import pytest
import torch

from mtmedformer_monai.federated.client.completion import completable, complete_batch
from mtmedformer_monai.federated.teaching import Gate
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, ReconstructionTask, SegmentationTask

NAN = float("nan")
LUNG = SegmentationTask("lung", ["left", "right"])
BOX = DetectionTask("box", ["opacity"], max_boxes=3, nms_iou=0.3)
FINDING = ClassificationTask("finding", ["normal", "pneumonia"], "binary")
KIND = ClassificationTask(
    "kind", ["a", "b", "c"], applies_if={"task": "finding", "class": "pneumonia", "probability": 0.5}
)
SIGNS = ClassificationTask("signs", ["x", "y"], "multilabel")


def logit(*probs):
    return torch.logit(torch.tensor(probs, dtype=torch.float64)).float()


def complete(task, own, output, *checks, gate=None, soft=False):
    """Completes one image of one task; returns its target and completed parts."""
    targets, outputs = {task.name: own[None]}, {task.name: output[None]}
    others = {task.name: [each[None] for each in checks]}
    found = complete_batch([task], targets, outputs, others, (32, 32), gate or Gate(0.7, 0.3, 0.9), soft)[task.name]
    return found[0][0], found[1][0]


def equal(one, other):
    torch.testing.assert_close(one, torch.as_tensor(other, dtype=one.dtype), equal_nan=True)


MISSING = torch.full((2, 1, 4), NAN)
MASKS = torch.stack([logit(0.9, 0.8, 0.4, 0.1), logit(0.9, 0.9, 0.1, 0.1)])[:, None]


def test_pixels_below_the_probability_stay_missing():
    target, parts = complete(LUNG, MISSING, MASKS)
    equal(target[:, 0], [[1, 1, NAN, 0], [1, 1, 0, 0]])
    assert parts.tolist() == [True, True]


def test_soft_masks_are_probabilities():
    target, _ = complete(LUNG, MISSING, MASKS, soft=True)
    equal(target[:, 0], [[0.9, 0.8, NAN, 0.1], [0.9, 0.9, 0.1, 0.1]])


def test_own_structures_are_never_changed():
    own = torch.stack([torch.tensor([[0.0, 0.0, 0.0, 1.0]]), torch.full((1, 4), NAN)])
    target, parts = complete(LUNG, own, MASKS)
    equal(target[:, 0], [[0, 0, 0, 1], [1, 1, 0, 0]])
    assert parts.tolist() == [False, True]


def test_a_structure_without_a_sure_pixel_stays_missing():
    target, parts = complete(
        LUNG, MISSING, torch.stack([logit(0.6, 0.6, 0.1, 0.1), logit(0.1, 0.1, 0.4, 0.1)])[:, None]
    )
    equal(target[:, 0], [[NAN] * 4, [0, 0, NAN, 0]])
    assert parts.tolist() == [False, True]


@pytest.mark.parametrize(("agreement", "accepted"), [(0.66, True), (0.67, False)])
def test_masks_need_the_agreement_of_both_checks(agreement, accepted):
    """The first structure's checks have the Dice 2 * 1 / (1 + 2) = 0.667, the second's agree."""
    one = torch.stack([logit(0.9, 0.1, 0.1, 0.1), logit(0.9, 0.9, 0.1, 0.1)])[:, None]
    two = torch.stack([logit(0.9, 0.9, 0.1, 0.1), logit(0.9, 0.9, 0.1, 0.1)])[:, None]
    _, parts = complete(LUNG, MISSING, MASKS, one, two, gate=Gate(0.7, 0.3, agreement))
    assert parts.tolist() == [accepted, True]


def detections(*scored):
    """Returns raw rows (A, 8) of boxes with scores."""
    return torch.stack([torch.tensor([*box, 0.0, 0.0, 8.0, float(logit(score))]) for box, score in scored])


HERE, THERE, OUTSIDE = (2.0, 2.0, 12.0, 12.0), (16.0, 16.0, 30.0, 28.0), (20.0, 20.0, 40.0, 31.0)
NO_BOX = torch.full((3, 5), NAN)


def test_boxes_above_the_score_become_rows():
    target, parts = complete(BOX, NO_BOX, detections((HERE, 0.5), (THERE, 0.9), ((5, 20, 9, 30), 0.1)))
    equal(target, [[*THERE, 0], [*HERE, 0], [-1] * 5])
    assert bool(parts)


def test_boxes_are_clipped_to_the_image():
    target, _ = complete(BOX, NO_BOX, detections((OUTSIDE, 0.9)))
    equal(target[0], [20, 20, 32, 31, 0])


def test_no_box_is_a_label_too():
    target, parts = complete(BOX, NO_BOX, detections((HERE, 0.1)))
    equal(target, torch.full((3, 5), -1.0))
    assert bool(parts)


@pytest.mark.parametrize("score", [0.16, 0.29])
def test_an_ambiguous_box_leaves_the_image_without_label(score):
    target, parts = complete(BOX, NO_BOX, detections((HERE, 0.9), (THERE, score)))
    assert bool(target.isnan().all())
    assert not parts


@pytest.mark.parametrize(
    ("one", "two", "accepted"),
    [
        (detections((HERE, 0.9)), detections((HERE, 0.4)), True),
        (detections((HERE, 0.9)), detections((HERE, 0.2)), False),
        (detections((HERE, 0.9)), detections((THERE, 0.9)), False),
    ],
    ids=["equal", "missed by one", "elsewhere"],
)
def test_boxes_need_the_agreement_of_both_checks(one, two, accepted):
    _, parts = complete(BOX, NO_BOX, detections((HERE, 0.9)), one, two)
    assert bool(parts) == accepted


def test_own_boxes_are_never_changed():
    own = torch.full((3, 5), -1.0)
    target, parts = complete(BOX, own, detections((HERE, 0.9)))
    equal(target, own)
    assert not parts


@pytest.mark.parametrize(
    ("prob", "checks", "expected"),
    [(0.8, (), 1.0), (0.2, (), 0.0), (0.6, (), NAN), (0.8, (0.6, 0.9), 1.0), (0.8, (0.4, 0.9), NAN)],
    ids=["second", "first", "unsure", "agree", "differ"],
)
def test_classes_need_probability_and_equal_checks(prob, checks, expected):
    target, parts = complete(FINDING, torch.tensor(NAN), logit(prob), *(logit(each) for each in checks))
    equal(target, expected)
    assert bool(parts) == (expected == expected)


def test_labels_are_decided_one_by_one():
    own = torch.tensor([0.0, NAN])
    target, parts = complete(SIGNS, own, logit(0.9, 0.9))
    equal(target, [0, 1])
    assert parts.tolist() == [False, True]
    target, parts = complete(SIGNS, torch.full((2,), NAN), logit(0.9, 0.9), logit(0.1, 0.8), logit(0.9, 0.9))
    equal(target, [NAN, 1])
    assert parts.tolist() == [False, True]


def test_a_conditional_finding_is_completed_only_where_it_applies():
    """Own pneumonia, own normal, completed pneumonia, unknown; the network is sure of the kind in all four."""
    targets = {"finding": torch.tensor([1.0, 0.0, NAN, NAN]), "kind": torch.full((4,), NAN)}
    outputs = {"finding": logit(0.1, 0.9, 0.9, 0.6)[:, None], "kind": torch.tensor([[0.0, 9.0, 0.0]]).repeat(4, 1)}
    found = complete_batch([FINDING, KIND], targets, outputs, {}, (8, 8), Gate())
    equal(found["finding"][0], [1, 0, 1, NAN])
    equal(found["kind"][0], [1, NAN, 1, NAN])
    assert found["kind"][1].tolist() == [True, False, True, False]


def test_tasks_without_a_teacher_are_left_out():
    found = complete_batch([LUNG, FINDING], {"finding": torch.tensor([NAN]), "lung": MISSING[None]},
                           {"finding": logit(0.9)[:, None]}, {}, (1, 4), Gate())  # fmt: skip
    assert list(found) == ["finding"]


def test_restricted_and_self_supervised_tasks_are_not_completed():
    restricted = SIGNS.restrict(["x"])
    assert completable([LUNG, restricted, ReconstructionTask(), FINDING]) == [LUNG, FINDING]
