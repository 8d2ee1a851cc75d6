import pytest
import torch

from mtmedformer_monai.tasks import ClassificationTask, SegmentationTask, StudyTask

NAN = torch.nan


def make_task(level="breast", name="fused", **arguments) -> StudyTask:
    return StudyTask(ClassificationTask(name, ["normal", "benign", "malignant"], **arguments), "pathology", level)


def test_the_worst_view_is_the_breasts_and_the_worst_breast_the_studys():
    target = torch.tensor([[0.0, 1.0, 2.0, NAN], [NAN, NAN, 0.0, 0.0]])
    assert make_task("breast").gather_target(target).tolist()[:2] == [1.0, 2.0]
    assert make_task("study").gather_target(target).tolist() == [2.0, 0.0]


def test_a_group_without_annotation_stays_without():
    target = torch.tensor([[NAN, NAN, 1.0, NAN]])
    assert torch.isnan(make_task("breast").gather_target(target)).tolist() == [True, False]
    assert torch.isnan(make_task("study").gather_target(torch.full((1, 4), NAN))).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_task("patient"), r"level expects one of \['breast', 'study'\], got 'patient'"),
        (lambda: make_task(name="pathology"), "a unique name, such as 'breast_pathology'"),
        (lambda: make_task(kind="multilabel"), "not multi-label, got 'fused'"),
        (lambda: StudyTask(SegmentationTask("x", ["a"]), "pathology", "breast"), "expects a classification"),
    ],
    ids=["level", "name", "multi-label", "segmentation"],
)
def test_invalid_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
