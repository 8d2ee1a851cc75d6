import json

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask
from mtmedformer_monai.uncertainty.calibration import (
    Calibration,
    TaskCalibration,
    calibrated_tasks,
    calibration_path,
    fit_temperature_scaling,
    load_calibration,
    save_calibration,
)
from mtmedformer_monai.uncertainty.operating_points import OperatingPoint

POINTS = (
    OperatingPoint("pneumonia", 0.9, 0.4, 20, 0.9, (0.7, 0.97), 30, 0.8, (0.6, 0.9)),
    OperatingPoint("pneumonia", 0.95, 0.2, 20, 0.95, (0.76, 0.99), 30, 0.7, (0.5, 0.83)),
)
FOUND = Calibration({"finding": TaskCalibration(1.5, 50, 0.4, 0.3, POINTS)}, images=60)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"weight": torch.ones(1)}, path)
    return path


def make_tasks():
    condition = {"task": "finding", "class": "pneumonia", "probability": 0.5}
    return [
        SegmentationTask("lung", ["lung"]),
        DetectionTask("box", ["opacity"]),
        ClassificationTask("finding", ["normal", "pneumonia"], "binary"),
        ClassificationTask("type", ["bacterial", "viral"], "binary", applies_if=condition),
    ]


def draw(probs, generator):
    return torch.multinomial(probs, 1, generator=generator)[:, 0].float()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(temperature):
    generator = torch.Generator().manual_seed(0)
    logits = 3.0 * torch.randn(20000, 3, generator=generator)
    target = draw((logits / temperature).softmax(dim=1), generator)
    found = fit_temperature_scaling(ClassificationTask("t", ["a", "b", "c"]), logits, target)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.nll_after <= found.nll_before


def test_binary_temperature_agrees_with_scikit_learn():
    """Its logistic regression without intercept and penalty has the slope 1 / T."""
    generator = torch.Generator().manual_seed(1)
    logits = 2.0 * torch.randn(300, 1, generator=generator)
    target = (torch.rand(300, generator=generator) < (logits[:, 0] / 2.5).sigmoid()).float()
    model = LogisticRegression(C=1e10, fit_intercept=False, tol=1e-8).fit(logits.numpy(), target.numpy())
    found = fit_temperature_scaling(ClassificationTask("t", ["a", "b"], "binary"), logits, target)
    assert found.temperature == pytest.approx(1 / model.coef_.item(), rel=1e-3)


def test_ordinal_temperature_is_that_of_the_events():
    """K - 1 cumulative logits of N cases are as K - 1 times N binary cases."""
    generator = torch.Generator().manual_seed(2)
    logits = 2.0 * torch.randn(300, 2, generator=generator)
    target = (logits > torch.randn(300, 2, generator=generator)).sum(dim=1).float()
    events = (target[:, None] > torch.arange(2)).float().flatten()
    ordinal = fit_temperature_scaling(ClassificationTask("t", ["a", "b", "c"], "ordinal"), logits, target)
    binary = fit_temperature_scaling(ClassificationTask("t", ["a", "b"], "binary"), logits.reshape(-1, 1), events)
    assert ordinal.temperature == pytest.approx(binary.temperature, rel=1e-3)


def test_missing_labels_are_left_out_and_too_few_cases_are_not_fitted():
    task, logits = ClassificationTask("t", ["a", "b"], "binary"), torch.randn(40, 1)
    target = torch.arange(40).remainder(2).float()
    target[19:] = torch.nan
    assert fit_temperature_scaling(task, logits, target) == TaskCalibration(None, 19)
    assert fit_temperature_scaling(task, logits, torch.ones(40)).temperature is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_outputs_that_are_not_finite_are_refused_unless_they_have_no_label(bad):
    logits, target = torch.linspace(-2, 2, 40)[:, None], torch.arange(40.0) % 2
    logits[3] = bad
    task = ClassificationTask("finding", ["normal", "pneumonia"], "binary")
    with pytest.raises(ValueError, match="1 of 40 images have outputs of the task 'finding' that are not finite"):
        fit_temperature_scaling(task, logits, target)
    target[3] = float("nan")
    assert fit_temperature_scaling(task, logits, target).cases == 39


def test_a_calibration_returns_as_it_was_saved(weights):
    path = save_calibration(FOUND, weights)
    assert path == weights.with_name("calibration.json") == calibration_path(weights)
    loaded = load_calibration(weights)
    assert loaded.tasks == FOUND.tasks
    assert loaded.images == 60
    assert json.loads(path.read_text())["weights"]["file"] == "model.pt"


def test_other_weights_are_refused_with_the_remedy(weights):
    save_calibration(FOUND, weights)
    torch.save({"weight": torch.zeros(1)}, weights)
    with pytest.raises(
        ValueError, match=r"other weights than model.pt.*mtmedformer calibrate --ckpt.*--calibration off"
    ):
        calibrated_tasks(make_tasks(), weights)
    assert calibrated_tasks(make_tasks(), weights, "off")[2].temperature is None


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "other"}', '{"format": "mtmedformer calibration 1"}'])
def test_damaged_files_are_refused(weights, text):
    calibration_path(weights).write_text(text)
    with pytest.raises(ValueError, match="is not a calibration"):
        load_calibration(weights)


def test_without_a_file_tasks_stay_unless_it_is_required(weights):
    tasks = make_tasks()
    assert calibrated_tasks(tasks, weights) == tasks
    with pytest.raises(FileNotFoundError, match="mtmedformer calibrate --ckpt"):
        calibrated_tasks(tasks, weights, "required")
    with pytest.raises(ValueError, match="got 'on'"):
        calibrated_tasks(tasks, weights, "on")


@pytest.mark.parametrize(("sensitivity", "threshold"), [(0.9, 0.4), (0.95, 0.2)])
def test_tasks_get_temperature_and_thresholds_and_conditions_follow(weights, sensitivity, threshold):
    save_calibration(FOUND, weights)
    lung, _, finding, kind = calibrated_tasks(make_tasks(), weights, "auto", sensitivity)
    assert lung.name == "lung"
    assert (finding.temperature, finding.thresholds) == (1.5, {"pneumonia": threshold})
    assert kind.applies_if["probability"] == threshold
    assert kind.temperature is None


def test_without_a_sensitivity_only_the_temperature_is_used(weights):
    save_calibration(FOUND, weights)
    _, _, finding, kind = calibrated_tasks(make_tasks(), weights, sensitivity=None)
    assert (finding.temperature, finding.thresholds) == (1.5, {})
    assert kind.applies_if["probability"] == 0.5


def test_an_unknown_sensitivity_is_refused(weights):
    save_calibration(FOUND, weights)
    with pytest.raises(ValueError, match=r"\[0.9, 0.95\], got 0.8; .* --sensitivity 0.8"):
        calibrated_tasks(make_tasks(), weights, sensitivity=0.8)
