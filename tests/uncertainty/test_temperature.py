import math

import pytest
import torch

from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask
from mtmedformer_monai.uncertainty.temperature import fit_temperature, summed_nll, validation_nll

LUNG, FINDING = SegmentationTask("lung", ["left", "right"]), ClassificationTask("finding", ["a", "b", "c"])
LABELS = ClassificationTask("labels", ["a", "b"], "multilabel")
OUTPUTS = {
    "lung": torch.zeros(2, 2, 4, 4),
    "finding": torch.tensor([[0.0, 0.0, 0.0], [math.log(2.0), 0.0, 0.0]]),
    "labels": torch.tensor([[0.0, 1.0], [0.0, 0.0]]),
}
TARGETS = {
    "lung": torch.ones(2, 2, 4, 4),
    "finding": torch.tensor([1.0, 0.0]),
    "labels": torch.tensor([[1.0, torch.nan], [torch.nan, 0.0]]),
}


def test_by_hand():
    tasks = [LUNG, FINDING, LABELS, DetectionTask("box", ["mass"])]
    masks, classes, labels = 4 * math.log(2), math.log(3) + math.log(2), 2 * math.log(2)
    assert summed_nll(tasks, OUTPUTS, TARGETS).item() == pytest.approx(masks + classes + labels, rel=1e-6)


def test_what_is_not_annotated_adds_nothing():
    lung = TARGETS["lung"].clone()
    lung[0, 1] = torch.nan
    targets = {"lung": lung, "finding": torch.tensor([torch.nan, 0.0])}
    found = summed_nll([LUNG, FINDING], OUTPUTS, targets)
    assert found.item() == pytest.approx(3 * math.log(2) + math.log(2), rel=1e-6)


def test_sites_add_up_to_all_images_in_any_order():
    grid = (0.1, 1.0, 10.0)
    torch.manual_seed(0)
    images, labels = torch.randn(12, 3), torch.randint(3, (12,)).float()
    parts = [([(images[part], {"finding": labels[part]})]) for part in (slice(0, 2), slice(2, 7), slice(7, 12))]

    def predict(image, temperature):
        return {"finding": image / temperature}

    sites = [validation_nll(predict, part, [FINDING], grid) for part in parts]
    pooled = validation_nll(predict, [(images, {"finding": labels})], [FINDING], grid)
    assert torch.allclose(torch.stack(sites).sum(dim=0), pooled)
    assert fit_temperature(sites, grid) == fit_temperature(reversed(sites), grid) == fit_temperature([pooled], grid)
    assert fit_temperature([pooled], grid) == grid[int(pooled.argmin())] == 10.0  # labels of chance: know nothing


@pytest.mark.parametrize(
    ("sites", "match"),
    [
        ([], "finite sums of one client or more"),
        ([torch.tensor([1.0, torch.nan])], "finite sums of one client or more"),
        ([torch.ones(3)], "a sum for each of 2 temperatures, got 3"),
    ],
    ids=["none", "nan", "grid"],
)
def test_wrong_sums_are_refused(sites, match):
    with pytest.raises(ValueError, match=match):
        fit_temperature(sites, (0.1, 1.0))
