"""Pictures of curves and examples have the expected colors and are also drawn after resuming."""

import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mtmedformer_monai.engines import ExamplePictures, History, TrainingCurves
from mtmedformer_monai.engines.handlers.example_pictures import spread
from mtmedformer_monai.tasks.detection import DetectionTask
from mtmedformer_monai.visualization.overlay import BOX_COLOR, Example, draw_examples, draw_prediction
from mtmedformer_monai.visualization.palette import COLORS
from tests.engines.tiny_training import build_training, make_tasks


def count(path, color: str, columns: slice = slice(None)) -> int:
    """Counts pixels close to a color in a range of columns (in thirds of the width)."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    width = pixels.shape[1]
    part = pixels[:, int((columns.start or 0) * width) : int((columns.stop or 1) * width)]
    return int((np.abs(part - rgb).max(axis=2) < 12).sum())


def example(mask: bool = True, boxes: bool = True) -> Example:
    square = torch.zeros(1, 32, 32)
    square[:, 8:24, 8:24] = 1
    dense = torch.zeros(1, 8)
    dense[0, :4], dense[0, 7] = torch.tensor([10.0, 10, 20, 20]), 0.8
    true_box = torch.full((3, 5), -1.0)
    true_box[0] = torch.tensor([11.0, 11, 21, 21, 0])
    targets = {"lung": square if mask else square * torch.nan, "finding": torch.tensor(1.0), "spot": true_box}
    if not boxes:
        dense[0, 7], targets["spot"] = 0.0, torch.full((3, 5), torch.nan)
    probs = {"lung": square * 0.9, "finding": torch.tensor([0.2, 0.8]), "spot": dense}
    return Example(torch.rand(32, 32) * 0.5, targets, probs)


TASKS = [*make_tasks(), DetectionTask("spot", ["nodule"])]
LEFT, MIDDLE = slice(0.0, 0.34), slice(0.36, 0.68)


def test_masks_and_boxes_on_both_sides(tmp_path):
    path = tmp_path / "examples.png"
    draw_examples([example()], TASKS, path)
    for side in (LEFT, MIDDLE):
        assert count(path, COLORS[0], side) > 100
        assert count(path, BOX_COLOR, side) > 100


def test_what_is_not_annotated_is_not_drawn(tmp_path):
    path = tmp_path / "examples.png"
    draw_examples([example(mask=False, boxes=False)], TASKS, path)
    above_legend = Image.open(path)
    above_legend.crop((0, 0, above_legend.width, above_legend.height - 40)).save(path)
    assert count(path, COLORS[0], LEFT) == count(path, BOX_COLOR, LEFT) == 0
    assert count(path, COLORS[0], MIDDLE) > 100
    assert count(path, BOX_COLOR, MIDDLE) == 0


def test_a_prediction_without_targets(tmp_path):
    path = tmp_path / "prediction.png"
    bare = Example(example().image, {}, example().probs)
    draw_prediction(bare, TASKS, path)
    assert count(path, COLORS[0]) > 200
    assert count(path, BOX_COLOR) > 200
    with_targets = tmp_path / "other.png"
    draw_prediction(Example(bare.image, example().targets, bare.probs), TASKS, with_targets)
    assert with_targets.read_bytes() == path.read_bytes()


def test_a_training_writes_curves_and_examples(tmp_path):
    training = build_training(2)
    history = History(str(tmp_path / "history.json"), training.evaluator)
    training.attach(
        history,
        TrainingCurves(training.tasks, history, str(tmp_path / "pictures")),
        ExamplePictures(training.tasks, str(tmp_path / "pictures"), training.evaluator, num_examples=2),
    ).run()
    curves, examples = (tmp_path / "pictures" / f"{name}.png" for name in ("curves", "examples"))
    assert count(curves, COLORS[0]) > 50
    assert count(curves, COLORS[1]) > 50
    assert Image.open(examples).height > 700  # two rows
    assert count(examples, COLORS[0], LEFT) > 100


def test_an_evaluator_on_its_own_writes_examples(tmp_path):
    training = build_training(1)
    ExamplePictures(training.tasks, str(tmp_path), num_examples=1).attach(training.evaluator)
    training.evaluator.run()
    assert (tmp_path / "examples.png").stat().st_size > 5000


def test_curves_skip_undefined_metrics(tmp_path):
    training = build_training(1)
    history = History(str(tmp_path / "history.json"), training.evaluator)
    history._rows = [
        {"epoch": e, "train": {"loss": math.nan, "loss_lung": 1.0 / e}, "validation": {}} for e in range(1, 5)
    ]
    TrainingCurves(training.tasks, history, str(tmp_path))()
    assert count(tmp_path / "curves.png", COLORS[0]) > 50
    assert count(tmp_path / "curves.png", COLORS[1]) == 0


@pytest.mark.parametrize(("value", "limits"), [(0.4, (-0.02, 1.02)), (21.0, (20.9, 21.1))], ids=["share", "PSNR"])
def test_the_axis_of_metrics_holds_their_values(tmp_path, monkeypatch, value, limits):
    figures = []
    monkeypatch.setattr(
        "mtmedformer_monai.engines.handlers.curves.save_figure", lambda figure, _: figures.append(figure)
    )
    training = build_training(1)
    history = History(str(tmp_path / "history.json"), training.evaluator)
    history._rows = [{"epoch": 1, "train": {}, "validation": {"lung_dice": value}}]
    TrainingCurves(training.tasks, history, str(tmp_path))()
    low, high = figures[0].axes[2].get_ylim()
    assert low <= limits[0] < value < limits[1] <= high


def test_pyplot_is_not_used(tmp_path):
    before = "matplotlib.pyplot" in sys.modules
    draw_examples([example()], TASKS, tmp_path / "examples.png")
    assert ("matplotlib.pyplot" in sys.modules) == before


@pytest.mark.parametrize(("size", "chosen"), [(9, {1, 4, 7}), (3, {0, 1, 2}), (2, {0, 1}), (0, set())])
def test_spread(size, chosen):
    assert spread(size, 3) == chosen
