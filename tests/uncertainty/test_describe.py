import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from mtmedformer_monai.engines import ActivateTasksd, DescribeTasksd
from mtmedformer_monai.keys import UNCERTAINTY, MetaKey
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask
from mtmedformer_monai.transforms import RestoreToSourced
from mtmedformer_monai.transforms.geometry.affine import index_affine
from mtmedformer_monai.uncertainty.describe import DescribeUncertaintyd, KeepUncertaintyd

LUNG, BOX = SegmentationTask("lung", ["left", "right"]), DetectionTask("box", ["mass", "nodule"])
FINDING, SIGNS = (
    ClassificationTask("finding", ["no", "yes"], "binary"),
    ClassificationTask("s", ["a", "b"], "multilabel"),
)
TASKS = [LUNG, BOX, FINDING, SIGNS]


def make_item(to_source):
    rows = torch.zeros(3, 9)
    rows[:, :4] = torch.tensor([[0.0, 0, 1, 1], [1, 1, 3, 3], [0, 0, 2, 4]])
    rows[:, 4:7] = torch.tensor([[0.5, 0.5, 1], [2, 2, 2], [1, 2, 4]])
    rows[:, 7:] = torch.tensor([[-9.0, -9.0], [-9.0, 2.0], [-9.0, -9.0]])
    pred = {
        "lung": torch.zeros(2, 4, 4),
        "lung.disagreement": torch.tensor([0.25, 0.5]),
        "box": rows,
        "box.box_std": torch.arange(12.0).reshape(3, 4),
        "box.point": rows[:, 4:7].clone(),
        "box.std": torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]),
        "finding": torch.tensor([1.0]),
        "finding.entropy": 0.5,  # as decollation leaves a scalar
        "finding.mutual_information": torch.tensor(0.125),
        "finding.std": torch.tensor([0.25, 0.25]),
        "s": torch.tensor([1.0, -1.0]),
        "s.entropy": torch.tensor([0.5, 0.25]),
        "s.mutual_information": torch.tensor([0.0, 0.125]),
        "s.std": torch.tensor([0.1, 0.2]),
    }
    meta = {MetaKey.TO_SOURCE: np.asarray(to_source, dtype=float), MetaKey.SOURCE_SHAPE: (8, 40)}
    affine = torch.from_numpy(index_affine(meta[MetaKey.TO_SOURCE], np.full(2, np.nan)))
    return {"image": MetaTensor(torch.zeros(1, 4, 4), affine=affine, meta=meta), "pred": pred}


def describe(item):
    for transform in (
        KeepUncertaintyd(),
        ActivateTasksd(TASKS),
        RestoreToSourced(),
        DescribeTasksd(TASKS),
        DescribeUncertaintyd(TASKS),
    ):
        item = transform(item)
    return item


def test_uncertainty_is_added_to_findings():
    found = describe(make_item(np.diag([10.0, 2.0, 1.0])))
    assert set(found["pred"]) == {"lung", "box", "finding", "s"}
    assert found["result"]["lung"][UNCERTAINTY] == {"disagreement": {"left": 0.25, "right": 0.5}}
    assert found["result"]["finding"][UNCERTAINTY] == {
        "entropy": 0.5,
        "mutual_information": 0.125,
        "std": {"no": 0.25, "yes": 0.25},
    }
    assert found["result"]["s"][UNCERTAINTY]["mutual_information"] == {"a": 0.0, "b": 0.125}
    [box] = found["result"]["box"]["boxes"]
    assert (box["class"], box["box"]) == ("nodule", [10.0, 2.0, 30.0, 6.0])
    assert box["score_std"] == pytest.approx(0.4)
    columns, rows = ((4**2 + 6**2) / 2) ** 0.5, ((5**2 + 7**2) / 2) ** 0.5  # the second row's, of both edges
    assert box["std"] == pytest.approx([10 * columns, 2 * rows], abs=0.01)


def test_rows_outside_the_source_do_not_shift_the_others():
    """As with padding: the first row's box lies beside the image, and has another uncertainty."""
    item = make_item(np.eye(3))
    item["pred"]["box"][0, :4] = torch.tensor([-3.0, 0, -1, 1])
    [box] = describe(item)["result"]["box"]["boxes"]
    assert box["score_std"] == pytest.approx(0.4)
    assert box["std"] == pytest.approx([((4**2 + 6**2) / 2) ** 0.5, ((5**2 + 7**2) / 2) ** 0.5], abs=0.01)


def test_a_turned_image_swaps_columns_and_rows():
    quarter = [[0.0, -1.0, 40.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    [turned] = describe(make_item(quarter))["result"]["box"]["boxes"]
    [upright] = describe(make_item(np.eye(3)))["result"]["box"]["boxes"]
    assert turned["std"] == upright["std"][::-1]


def test_a_batch_is_split_alike():
    batch = KeepUncertaintyd()({"pred": {"lung": torch.zeros(2, 1), "lung.std": torch.ones(2, 1)}})
    assert torch.equal(batch[UNCERTAINTY]["lung"]["std"], torch.ones(2, 1))
    assert list(batch["pred"]) == ["lung"]
