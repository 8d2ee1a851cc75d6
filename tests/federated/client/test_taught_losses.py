import copy

import pytest
import torch
import torch.nn.functional as F

from mtmedformer_monai.federated.client.completed_labels import COMPLETED
from mtmedformer_monai.federated.client.completion import lacking
from mtmedformer_monai.federated.client.taught_losses import TEACHER, CompletedLoss, DistilledLoss, distillation_loss
from mtmedformer_monai.losses.hybrid import HybridLoss
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask

NAN = float("nan")
LUNG = SegmentationTask("lung", ["left", "right"])
FINDING = ClassificationTask("finding", ["no", "yes"], "binary")
KIND = ClassificationTask("kind", ["a", "b", "c"])
SIGNS = ClassificationTask("signs", ["x", "y"], "multilabel")
STAGE = ClassificationTask("stage", ["0", "1", "2"], "ordinal")
BOX = DetectionTask("box", ["opacity"], max_boxes=2)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def masks(*shape, seed=0):
    return (random(*shape, seed=seed) > 0).float()


def loss_of(rule, task, output, target, parts=None):
    targets = {task.name: target} | ({f"{task.name}{COMPLETED}": parts} if parts is not None else {})
    return rule(task, {task.name: output}, targets)


def test_completed_labels_count_by_their_weight():
    """Own labels of two images and a completed one: (softplus terms of the own + 0.5 that of the completed) / 3."""
    output, target = torch.tensor([[1.0], [-2.0], [3.0]]), torch.tensor([1.0, 1.0, 0.0])
    parts = torch.tensor([False, False, True])
    by_image = F.softplus(torch.tensor([-1.0, 2.0, 3.0]))
    expected = (by_image[0] + by_image[1] + 0.5 * by_image[2]) / 3
    torch.testing.assert_close(loss_of(CompletedLoss(0.5), FINDING, output, target, parts), expected)


def test_a_batch_of_completed_labels_alone_keeps_their_weight():
    output, target = torch.tensor([[1.0]]), torch.tensor([1.0])
    found = loss_of(CompletedLoss(0.25), FINDING, output, target, torch.tensor([True]))
    torch.testing.assert_close(found, 0.25 * F.softplus(torch.tensor(-1.0)))


@pytest.mark.parametrize(
    ("task", "output", "target", "parts"),
    [
        (LUNG, random(3, 2, 8, 8), masks(3, 2, 8, 8), torch.tensor([[True, False], [True, True], [False, False]])),
        (SIGNS, random(2, 2), masks(2, 2), torch.tensor([[True, False], [False, False]])),
        (KIND, random(3, 3), torch.tensor([0.0, 2.0, 1.0]), torch.tensor([True, False, False])),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_nearly_equal_weights_give_nearly_the_loss_of_own_labels(task, output, target, parts):
    """At a weight near 1 the two means are combined to the mean over all; at exactly 1 they are one."""
    plain = task.loss(output, target)
    torch.testing.assert_close(loss_of(CompletedLoss(1.0), task, output, target, parts), plain, rtol=0, atol=0)
    torch.testing.assert_close(loss_of(CompletedLoss(1.0 + 1e-7), task, output, target, parts), plain)


@pytest.mark.parametrize("rule", [CompletedLoss(0.5), DistilledLoss(1.0, 2.0)])
def test_a_batch_without_teacher_has_the_loss_of_own_labels(rule):
    output, target = random(2, 2, 8, 8), masks(2, 2, 8, 8)
    torch.testing.assert_close(loss_of(rule, LUNG, output, target), LUNG.loss(output, target), rtol=0, atol=0)


CASES = [
    (LUNG, (2, 2, 8, 8), torch.full((2, 2, 8, 8), NAN)),
    (FINDING, (3, 1), torch.tensor([NAN, NAN, NAN])),
    (KIND, (3, 3), torch.tensor([NAN, NAN, NAN])),
    (SIGNS, (2, 2), torch.full((2, 2), NAN)),
    (STAGE, (3, 2), torch.tensor([NAN, NAN, NAN])),
]


@pytest.mark.parametrize(("task", "shape", "target"), CASES, ids=[each[0].name for each in CASES])
def test_the_gradient_pulls_towards_the_teacher(task, shape, target):
    """For classes, the loss is least at the teacher's output; each step towards the teacher lowers any of them."""
    teacher, start = random(*shape, seed=1), random(*shape, seed=2)
    values = [
        distillation_loss(task, start + share * (teacher - start), teacher, lacking(task, target), 2.0).item()
        for share in (0.0, 0.5, 1.0)
    ]
    assert values[0] > values[1] > values[2]
    if task is not LUNG:  # Dice also sharpens
        output = teacher.clone().requires_grad_()
        distillation_loss(task, output, teacher, lacking(task, target), 2.0).backward()
        torch.testing.assert_close(output.grad, torch.zeros_like(output), atol=1e-6, rtol=0)


def test_classes_by_hand():
    """With logits 2 and teacher 4 at temperature 2: cross-entropy of sigmoid(2) with logit 1."""
    found = distillation_loss(FINDING, torch.tensor([[2.0]]), torch.tensor([[4.0]]), torch.tensor([True]), 2.0)
    p = torch.sigmoid(torch.tensor(2.0))
    expected = p * F.softplus(torch.tensor(-1.0)) + (1 - p) * F.softplus(torch.tensor(1.0))
    torch.testing.assert_close(found, expected)


def rows(*scored):
    return torch.tensor([[[*box, 8.0, 8.0, 8.0, logit] for box, logit in scored]])


def test_boxes_pull_score_and_place():
    """The teacher sees a box at the first point alone; equal boxes and scores leave only the entropy of the scores."""
    teacher = rows(((0.0, 0, 8, 8), 3.0), ((8.0, 8, 16, 16), -9.0))
    same, missed = teacher.clone(), rows(((0.0, 0, 8, 8), -3.0), ((8.0, 8, 16, 16), -9.0))
    moved, background = rows(((4.0, 0, 12, 8), 3.0), ((8.0, 8, 16, 16), -9.0)), teacher.clone()
    background[0, 1, :4] += 5.0
    all_missing = torch.tensor([True])
    at = {
        name: distillation_loss(BOX, output, teacher, all_missing, 2.0).item()
        for name, output in {"same": same, "missed": missed, "moved": moved, "background": background}.items()
    }
    assert at["same"] == pytest.approx(0.0, abs=1e-6)
    assert at["missed"] > 1.0
    # generalized IoU 1/3; the strength sigmoid(3) of one point, divided by at least 1
    assert at["moved"] == pytest.approx(torch.sigmoid(torch.tensor(3.0)).item() * (1 - 1 / 3), rel=1e-5)
    assert at["background"] == pytest.approx(0.0, abs=1e-6)


def test_what_has_own_labels_is_not_distilled():
    output, teacher = random(2, 2, 8, 8).requires_grad_(), random(2, 2, 8, 8, seed=1)
    target = masks(2, 2, 8, 8)
    target[1, 0] = NAN
    rule, targets = DistilledLoss(0.5, 2.0), {"lung": target, f"lung{TEACHER}": teacher}
    rule(LUNG, {"lung": output}, targets).backward()
    only_own = output.detach().clone().requires_grad_()
    LUNG.loss(only_own, target).backward()
    differs = (output.grad != only_own.grad).flatten(2).any(dim=2)
    assert differs.tolist() == [[False, False], [True, False]]


def test_an_image_without_teacher_is_not_distilled():
    output, teacher = random(2, 1).requires_grad_(), random(2, 1, seed=1)
    teacher[1] = NAN
    targets = {"finding": torch.full((2,), NAN), f"finding{TEACHER}": teacher}
    loss = DistilledLoss(1.0, 2.0)(FINDING, {"finding": output}, targets)
    alone = distillation_loss(FINDING, output[:1], teacher[:1], torch.tensor([True]), 2.0)
    torch.testing.assert_close(loss, alone)
    loss.backward()
    assert output.grad[1].item() == 0.0 != output.grad[0].item()


def test_the_hybrid_loss_uses_the_rule_with_its_scales():
    loss = HybridLoss([FINDING], initial={"finding": 2.0})
    taught = copy.deepcopy(loss)
    taught.task_loss = CompletedLoss(0.5)
    output, target = {"finding": torch.tensor([[1.0]])}, {"finding": torch.tensor([1.0])}
    parts = {f"finding{COMPLETED}": torch.tensor([True])}
    torch.testing.assert_close(taught(output, target | parts), 0.5 * loss(output, target))
    torch.testing.assert_close(loss(output, target), F.softplus(torch.tensor(-1.0)) / 2)
