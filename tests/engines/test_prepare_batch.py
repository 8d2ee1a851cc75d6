import pytest
import torch
from monai.data import MetaTensor

from mtmedformer_monai.engines import PrepareMultiTaskBatch
from tests.engines.tiny_training import make_tasks


def batch() -> dict[str, torch.Tensor]:
    return {
        "image": MetaTensor(torch.rand(2, 1, 8, 8)),
        "lung": MetaTensor(torch.ones(2, 1, 8, 8)),
        "finding": torch.tensor([1.0, torch.nan]),
        "patient_id": ["a", "b"],
    }


def test_image_and_targets_by_task():
    image, targets = PrepareMultiTaskBatch(make_tasks())(batch(), torch.device("cpu"))
    assert isinstance(image, MetaTensor)
    assert set(targets) == {"lung", "finding"}
    assert type(targets["lung"]) is torch.Tensor
    assert torch.isnan(targets["finding"]).tolist() == [False, True]


def test_plain_image_on_request():
    image, _ = PrepareMultiTaskBatch(make_tasks(), keep_meta=False)(batch(), "cpu", True)
    assert type(image) is torch.Tensor


def test_moves_to_the_device():
    image, targets = PrepareMultiTaskBatch(make_tasks(), keep_meta=False)(batch(), "meta")
    assert {image.device.type, *(t.device.type for t in targets.values())} == {"meta"}


def test_missing_target_is_an_error_in_training_only():
    items = {k: v for k, v in batch().items() if k != "finding"}
    with pytest.raises(KeyError, match=r"none of \['finding'\]; add LoadTargetsd"):
        PrepareMultiTaskBatch(make_tasks())(items)
    _, targets = PrepareMultiTaskBatch(make_tasks(), require_targets=False)(items)
    assert set(targets) == {"lung"}


def test_a_missing_image_is_an_error():
    with pytest.raises(KeyError, match="expects the key 'image'"):
        PrepareMultiTaskBatch(make_tasks())({"lung": torch.zeros(1)})
