import pytest
import torch

from mtmedformer_monai.engines import PrepareMultiTaskBatch
from mtmedformer_monai.keys import BoxRow
from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask
from mtmedformer_monai.uncertainty.calibration import load_calibration
from mtmedformer_monai.uncertainty.calibrator import Calibrator, classification_points, detection_points, is_blank
from mtmedformer_monai.uncertainty.guard import guard_path, load_guard

FINDING = ClassificationTask("finding", ["normal", "pneumonia"], "binary")
TASKS = [SegmentationTask("lung", ["lung"]), DetectionTask("box", ["mass"]), FINDING]


def batches(count, seed):
    generator = torch.Generator().manual_seed(seed)
    for index in range(count):
        image = torch.rand(8, 1, 32, 32, generator=generator)
        if index == 0:
            image[0] = 0.0  # placeholder of an unreadable image
        target = torch.arange(8).remainder(2).float()
        target[0] = torch.nan
        yield {"image": image, "finding": target, "box": torch.full((8, 16, 5), torch.nan)}


@pytest.fixture
def calibrator(tmp_path):
    torch.manual_seed(0)
    network = MTMedFormer(HierarchicalTransformer("tiny"), TASKS, pyramid_width=16)
    torch.save(network.state_dict(), tmp_path / "model.pt")

    def make(training=True, **options):
        prepare = PrepareMultiTaskBatch(TASKS, require_targets=False)
        loaders = (list(batches(5, 0)) if training else None, list(batches(4, 1)))
        return Calibrator(network, TASKS, tmp_path / "model.pt", *loaders, prepare, **options)

    return make


def test_both_files_belong_to_the_weights(calibrator, tmp_path):
    calibration, guard = calibrator().run()
    assert (guard.num_training, guard.num_validation) == (39, 31)  # without placeholders
    assert calibration.images == 31
    assert calibration.tasks["finding"].cases == 28
    assert calibration.tasks["finding"].temperature > 0
    assert list(calibration.tasks) == ["box", "finding"]
    assert load_calibration(tmp_path / "model.pt").tasks == calibration.tasks
    assert load_guard(tmp_path / "model.pt").limit == guard.limit


def test_without_training_images_there_is_no_guard(calibrator, tmp_path):
    _, guard = calibrator(training=False).run()
    assert guard is None
    assert not guard_path(tmp_path / "model.pt").exists()


def test_too_few_images_for_the_rate_leave_nothing_behind(calibrator, tmp_path):
    with pytest.raises(ValueError, match="99 or more validation images, got 31"):
        calibrator(false_alarm_rate=0.01).run()
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_classification_points_use_calibrated_probabilities():
    logits, target = torch.arange(-10.0, 10.0)[:, None], (torch.arange(20) >= 10).float()
    (point,) = classification_points(FINDING, 2.0, logits, target, [0.9])
    expected = torch.tensor(0.5).sigmoid().item()  # nine of the ten positive logits are 1 or more
    assert point.threshold == pytest.approx(expected, abs=1e-6)
    assert (point.attained, point.specificity) == (0.9, 1.0)


def test_alternatives_have_no_points_and_the_more_probable_one_is_reported():
    logits, target = torch.linspace(-2.0, 2.0, 40)[:, None], torch.arange(40.0) % 2
    types = ClassificationTask("type", ["bacterial", "viral"], "binary", has_reference=False)
    assert classification_points(types, 1.0, logits, target, [0.95]) == []
    earlier = types.calibrate(1.0, {"viral": 0.1})  # a file of before
    assert earlier.describe(torch.tensor([0.6, 0.4])) == {
        "probs": {"bacterial": 0.6, "viral": 0.4},
        "class": "bacterial",
        "calibrated": True,
    }


def test_ordinal_points_count_this_or_a_higher_class():
    task = ClassificationTask("density", ["A", "B", "C"], "ordinal")
    target = torch.tensor([0.0] * 10 + [1.0] * 10 + [2.0] * 10)
    logits = torch.stack([target, target - 1.0], dim=1)
    points = classification_points(task, None, logits, target, [1.0])
    assert [(point.class_name, point.cases) for point in points] == [("B", 20), ("C", 10)]
    thresholds = [torch.tensor(value).sigmoid().item() for value in (1.0, 1.0)]
    assert [point.threshold for point in points] == pytest.approx(thresholds, abs=1e-6)


def test_detection_points_match_boxes():
    """Twelve images, a box in each: found in ten, with a false box of score 0.6 in the first."""
    box, away = torch.tensor([4.0, 4.0, 12.0, 12.0]), torch.tensor([20.0, 20.0, 28.0, 28.0])
    outputs, target = torch.zeros(12, 2, 8), torch.full((12, 16, 5), -1.0)
    outputs[..., BoxRow.LOGITS] = -20.0
    outputs[:, 0, BoxRow.BOX], outputs[:, 1, BoxRow.BOX] = box, away
    outputs[:10, 0, 7] = torch.linspace(0.5, 0.95, 10).logit()
    outputs[0, 1, 7] = torch.tensor(0.6).logit()
    target[:, 0] = torch.tensor([4.0, 4.0, 12.0, 12.0, 0.0])
    reached, missed = detection_points(TASKS[1], outputs, target, [0.75, 0.9])
    assert reached.threshold == pytest.approx(0.55, abs=2e-6)  # nine of twelve
    assert reached.false_positives_per_image == pytest.approx(1 / 12)
    assert (missed.threshold, missed.attained) == (None, 10 / 12)


def test_only_black_images_are_blank():
    image = torch.zeros(2, 1, 2, 2)
    image[1, 0, 1, 1] = 0.1
    assert is_blank(image).tolist() == [True, False]
