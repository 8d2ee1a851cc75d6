import pytest
import torch

from mtmedformer_monai.tasks import ClassificationTask, SegmentationTask
from mtmedformer_monai.tasks.applicability import describe_tasks

CONDITION = {"task": "finding", "class": "pneumonia", "probability": 0.5}
FINDING = ClassificationTask("finding", ["normal", "pneumonia"], "binary")
TYPE = ClassificationTask("pneumonia_type", ["bacterial", "viral"], "binary", applies_if=CONDITION)
TASKS = [SegmentationTask("lung", ["lung"]), FINDING, TYPE]


def describe(pneumonia, tasks=TASKS):
    probs = {
        "lung": torch.zeros(1, 2, 2),
        "finding": torch.tensor([1 - pneumonia, pneumonia]),
        "pneumonia_type": torch.tensor([0.25, 0.75]),
    }
    return describe_tasks(tasks, probs)


@pytest.mark.parametrize(("pneumonia", "said"), [(0.25, "not applicable"), (0.5, "viral"), (0.75, "viral")])
def test_a_type_is_reported_if_the_condition_is_probable_enough(pneumonia, said):
    found = describe(pneumonia)["pneumonia_type"]
    assert found["class"] == said
    assert found["applicable"] is (said == "viral")
    assert found["applies_if"] == {**CONDITION, "found": pneumonia}
    assert found["probs"] == {"bacterial": 0.25, "viral": 0.75}


def test_findings_of_other_tasks_are_unchanged():
    assert describe(0.25)["finding"] == FINDING.describe(torch.tensor([0.75, 0.25]))


def test_several_labels_become_none():
    signs = ClassificationTask("signs", ["a", "b"], "multilabel", applies_if=CONDITION)
    probs = {"finding": torch.tensor([0.75, 0.25]), "signs": torch.tensor([0.9, 0.1])}
    assert describe_tasks([FINDING, signs], probs)["signs"]["classes"] == []


def test_metrics_and_loss_are_those_of_the_task_without_a_condition():
    bare = ClassificationTask("pneumonia_type", ["bacterial", "viral"], "binary")
    logits, target = torch.tensor([[0.3], [-1.0]]), torch.tensor([1.0, 0.0])
    assert torch.equal(TYPE.loss(logits, target), bare.loss(logits, target))
    metrics = []
    for task in (TYPE, bare):
        metric = task.make_metric()
        metric.update(task.activate(logits), target)
        metrics.append(metric.compute())
    assert metrics[0] == pytest.approx(metrics[1], nan_ok=True)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"task": "finding", "probability": 0.5}, "expects applies_if="),
        ({**CONDITION, "probability": 1.5}, "a probability of 0 to 1 in applies_if, got 1.5"),
        ({**CONDITION, "probability": "half"}, "expects applies_if="),
    ],
)
def test_an_invalid_condition_is_refused(condition, message):
    with pytest.raises(ValueError, match=f"task 'x'.*{message}"):
        ClassificationTask("x", ["a", "b"], "binary", applies_if=condition)


def test_a_condition_on_an_unknown_class_is_refused():
    wrong = ClassificationTask("pneumonia_type", ["a", "b"], "binary", applies_if={**CONDITION, "class": "flu"})
    with pytest.raises(ValueError, match=r"is 'flu', which is not in .*'finding': .'normal', 'pneumonia'"):
        describe(0.9, [FINDING, wrong])
