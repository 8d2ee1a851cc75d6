from __future__ import annotations

import pytest
import torch

from mtmedformer_monai.federated.client.class_union import restrict_tasks
from mtmedformer_monai.keys import BoxRow
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask

CLASSES = ["normal", "benign", "malignant"]


def restrict(task, *known):
    return restrict_tasks([task], {task.name: known})[0]


def gradient_of(task, logits, target):
    logits = logits.clone().requires_grad_()
    loss = task.loss(logits, target)
    loss.backward()
    return float(loss), logits.grad


def test_exclusive_classes_compete_among_known_ones_alone():
    """By hand: e^1 / (e^1 + e^3) for the second class out of the last two; the first gets no gradient."""
    task = restrict(ClassificationTask("pathology", CLASSES), "benign", "malignant")
    loss, gradient = gradient_of(task, torch.tensor([[9.0, 1.0, 3.0]]), torch.tensor([1.0]))
    assert loss == pytest.approx(
        torch.nn.functional.cross_entropy(torch.tensor([[1.0, 3.0]]), torch.tensor([0])).item(), rel=1e-3
    )
    torch.testing.assert_close(gradient[0, 0], torch.tensor(0.0), rtol=0, atol=1e-6)
    assert gradient[0, 1] < 0 < gradient[0, 2]


def test_the_maximum_of_two_sites_knowledge_is_the_maximum_of_all():
    """One client distinguishes normal from benign, one benign from malignant; together they recover all shares."""
    shares = torch.tensor([0.6, 0.3, 0.1])
    task = ClassificationTask("pathology", CLASSES)
    sites = [restrict(task, "normal", "benign"), restrict(task, "benign", "malignant")]
    seen = [torch.tensor([0.0] * 60 + [1.0] * 30), torch.tensor([1.0] * 30 + [2.0] * 10)]
    logits = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=50, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        total = sum(site.loss(logits.expand(len(each), 3), each) for site, each in zip(sites, seen, strict=True))
        total.backward()
        return total

    optimizer.step(loss)
    torch.testing.assert_close(logits.softmax(0).detach(), shares, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["multiclass", "ordinal"])
def test_the_loss_is_that_of_the_predicted_class_among_known_ones(kind):
    task = restrict(ClassificationTask("density", ["A", "B", "C", "D"], kind), "A", "B", "C")
    logits = torch.tensor([2.0, 0.0, -2.0, 1.0])[: task._task.num_logits] + torch.linspace(-1, 1, 5)[:, None]
    target = torch.tensor([0.0, 1.0, 2.0, torch.nan, 1.0])
    probs = task.activate(logits)[[0, 1, 2, 4]][:, :3]
    by_hand = -(probs[range(4), [0, 1, 2, 1]] / probs.sum(1)).log().mean()
    torch.testing.assert_close(task.loss(logits, target), by_hand, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "ordinal"])
def test_a_single_known_class_has_zero_loss(kind):
    classes = ["no", "yes"] if kind == "binary" else CLASSES
    task = restrict(ClassificationTask("finding", classes, kind), classes[0])
    target = torch.zeros(2)
    assert not task.is_annotated(target).any()
    loss, gradient = gradient_of(task, torch.randn(2, task._task.num_logits), target)
    assert loss == 0.0
    assert not gradient.any()


def test_a_label_of_an_unknown_class_is_refused():
    task = restrict(ClassificationTask("pathology", CLASSES), "normal", "benign")
    with pytest.raises(ValueError, match=r"'normal', 'benign'.*add it to known_classes"):
        task.loss(torch.zeros(2, 3), torch.tensor([0.0, 2.0]))


def test_unknown_labels_of_a_multi_label_task_count_as_not_annotated():
    task = restrict(ClassificationTask("signs", CLASSES, "multilabel"), "benign")
    logits, target = torch.tensor([[2.0, -1.0, 2.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    loss, gradient = gradient_of(task, logits, target)
    assert loss == pytest.approx(torch.nn.functional.softplus(torch.tensor(1.0)).item())
    assert gradient[0].nonzero().flatten().tolist() == [1]
    assert task.is_annotated(torch.tensor([[0.0, torch.nan, 0.0], [torch.nan, 0.0, torch.nan]])).tolist() == [
        False,
        True,
    ]


def detection(classes):
    return DetectionTask("box", classes, max_boxes=2)


def rows(num_classes):
    points = torch.tensor([[4.0, 4.0, 8.0], [12.0, 4.0, 8.0]])
    boxes = torch.tensor([[0.0, 0.0, 9.0, 8.0], [8.0, 0.0, 16.0, 8.0]])
    logits = torch.randn(2, num_classes, generator=torch.Generator().manual_seed(1))
    output = torch.zeros(1, 2, 7 + num_classes)
    output[0, :, BoxRow.POINT], output[0, :, BoxRow.BOX], output[0, :, BoxRow.LOGITS] = points, boxes, logits
    return output


def test_boxes_of_known_classes_have_the_loss_of_a_detector_of_these_alone():
    output = rows(3)
    target = torch.tensor([[[0.0, 0.0, 8.0, 8.0, 2.0], [-1.0] * 5]])
    task = restrict(detection(["a", "b", "c"]), "a", "c")
    alone = torch.tensor([[[0.0, 0.0, 8.0, 8.0, 1.0], [-1.0] * 5]])
    keep = [*range(BoxRow.LOGITS.start), BoxRow.LOGITS.start, BoxRow.LOGITS.start + 2]
    loss, gradient = gradient_of(task, output, target)
    assert loss == pytest.approx(float(detection(["a", "c"]).loss(output[..., keep], alone)))
    assert not gradient[..., BoxRow.LOGITS.start + 1].any()
    assert gradient[..., BoxRow.LOGITS.start + 2].any()
    assert float(task.loss(output, torch.full((1, 2, 5), torch.nan))) == 0.0
    with pytest.raises(ValueError, match="omit these annotations"):
        task.loss(output, torch.tensor([[[0.0, 0.0, 8.0, 8.0, 1.0], [-1.0] * 5]]))


def test_ordinal_classes_of_negative_probability_have_a_gradient():
    """The probability of the second class is negative: P(above the first) = 0.12 < P(above the second) = 0.88."""
    task = restrict(ClassificationTask("density", CLASSES, "ordinal"), "normal", "benign")
    logits = torch.tensor([[-2.0, 2.0]])
    _, gradient = gradient_of(task, logits, torch.tensor([1.0]))
    stepped = logits - 0.1 * gradient.sign()
    assert stepped[0, 0] > logits[0, 0]
    assert stepped[0, 1] < logits[0, 1]
    assert float(task.loss(stepped, torch.tensor([1.0]))) < float(task.loss(logits, torch.tensor([1.0])))
