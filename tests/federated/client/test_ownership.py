from __future__ import annotations

import pytest
import torch
from monai.data import Dataset

from mtmedformer_monai.data.study_dataset import StudyDataset
from mtmedformer_monai.federated.client.ownership import has_label, labels_of, own
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, ReconstructionTask, SegmentationTask
from tests.federated.tiny_client import make_trainer

BOTH, LEFT, RIGHT, NONE = {"left": "yes", "right": "no"}, {"left": "no"}, {"right": "yes"}, {}


def test_counts_images_with_a_label_of_any_task_that_a_tensor_serves():
    ownership = own(make_trainer([BOTH, LEFT, LEFT, NONE, RIGHT]))
    assert ownership.images_by_task == {"left": 3, "right": 2}
    counts = ownership.num_samples
    assert counts["encoder.weight"] == counts["norm.running_mean"] == 4
    assert counts["decoders.left.1.weight"] == counts["decoders.left.0.running_var"] == 3
    assert counts["decoders.right.1.bias"] == 2


def test_a_task_without_weight_is_not_trained():
    trainer = make_trainer([BOTH, BOTH])
    trainer.loss_function.tasks[0].weight = 0.0
    assert own(trainer).num_samples["decoders.left.1.weight"] == 0


def test_what_the_optimizer_does_not_have_is_not_trained():
    trainer = make_trainer([BOTH, BOTH])
    trainer.network.encoder.weight.requires_grad_(False)
    assert own(trainer).num_samples["encoder.weight"] == 0
    assert own(trainer).num_samples["encoder.bias"] == 2


def test_all_of_a_stock_network_learns_from_all_images():
    trainer = make_trainer([BOTH, NONE, NONE])
    trainer.loss_function = torch.nn.MSELoss()
    ownership = own(trainer)
    assert set(ownership.num_samples.values()) == {3}
    assert ownership.images_by_task == {"all": 3}


def test_a_stream_has_no_length():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([])

    trainer = make_trainer([BOTH])
    trainer.data_loader = torch.utils.data.DataLoader(Stream())
    with pytest.raises(ValueError, match="training data with a length"):
        own(trainer)


@pytest.mark.parametrize(
    ("task", "annotation"),
    [
        (SegmentationTask("lung", ["left", "right"]), {"masks": {"right": "not_there.png"}}),
        (DetectionTask("box", ["opacity"]), {"boxes": {"opacity": []}}),
        (ClassificationTask("finding", ["normal", "ill"], "binary"), {"labels": {"finding": "ill"}}),
        (ClassificationTask("signs", ["a", "b"], "multilabel"), {"labels": {"signs": []}}),
    ],
    ids=["mask", "no box is there", "class", "no sign is there"],
)
def test_labels_of_an_item_are_found_without_a_pixel(task, annotation):
    assert has_label({"image": "not_there.png", **annotation}, task)
    assert not has_label({"image": "not_there.png", "masks": {"right": None}, "boxes": {}, "labels": {}}, task)


def test_every_image_has_what_reconstruction_hides():
    assert has_label({"image": "not_there.png"}, ReconstructionTask())


def test_a_study_has_the_labels_of_its_images():
    def image(study, view, label):
        labels = {"pathology": label} if label else {}
        return {"image": "x", "study_id": study, "laterality": "L", "view": view, "labels": labels}

    items = [image("1", "CC", "normal"), image("1", "MLO", None), image("2", "CC", None)]
    dataset = StudyDataset(Dataset(items), ["pathology"])
    source = ClassificationTask("pathology", ["normal", "malignant"], "binary")
    fused = ClassificationTask("study_pathology", ["normal", "malignant"], "binary")
    network = torch.nn.Module()
    network.fusions = torch.nn.ModuleDict({"study_pathology": torch.nn.Linear(1, 1)})
    network.fusions["study_pathology"].source = "pathology"
    labels = labels_of(dataset, [source, fused], network)
    assert {name: each.tolist() for name, each in labels.items()} == {
        "pathology": [True, False],
        "study_pathology": [True, False],
    }
