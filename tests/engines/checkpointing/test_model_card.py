"""Model cards record what weights were trained for, and configs that differ are refused."""

import json
import logging

import pytest
import torch
from ignite.engine import Engine

from mtmedformer_monai.engines import CheckWeights, SaveCheckpoints
from mtmedformer_monai.engines.checkpointing.model_card import describe_model, write_card
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask
from tests.engines.tiny_training import build_training, make_tasks

TASKS = [SegmentationTask("lung", ["left", "right"]), ClassificationTask("finding", ["normal", "ill"], "binary")]


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"a": torch.zeros(1)}, path)
    write_card(path, describe_model(TASKS, [64, 48]))
    return path


def check(path, tasks=TASKS, size=(64, 48), **options):
    engine = Engine(lambda engine, batch: None)
    CheckWeights(str(path), tasks, size, **options).attach(engine)
    engine.run([0])


def test_matching_weights_pass_without_warning(weights, caplog):
    with caplog.at_level(logging.WARNING):
        check(weights, TASKS[::-1])
    assert not caplog.records


@pytest.mark.parametrize(
    ("tasks", "size", "message"),
    [
        (TASKS, (128, 128), r"image_size is \[64, 48\] in the weights and \[128, 128\] in the config"),
        (TASKS[:1], (64, 48), r"tasks are \['finding', 'lung'\] in the weights and \['lung'\] in the config"),
        (
            [TASKS[0], ClassificationTask("finding", ["ill", "normal"], "binary")],
            (64, 48),
            r"classes of task 'finding' is \['normal', 'ill'\] in the weights and \['ill', 'normal'\] in the config",
        ),
        ([TASKS[0], ClassificationTask("finding", ["normal", "ill"])], (64, 48), "kind of task 'finding' is binary"),
        ([SegmentationTask("lung", ["right", "left"]), TASKS[1]], (64, 48), "structures of task 'lung'"),
        ([DetectionTask("lung", ["left"]), TASKS[1]], (64, 48), "type of task 'lung' is SegmentationTask"),
    ],
)
def test_a_mismatch_raises_or_warns_with_both_values(weights, tasks, size, message, caplog):
    with pytest.raises(ValueError, match=message) as error:
        check(weights, tasks, size)
    assert str(weights) in str(error.value)
    assert "--on_weights_mismatch warn" in str(error.value)
    with caplog.at_level(logging.WARNING):
        check(weights, tasks, size, on_mismatch="warn")
    assert "don't fit the config" in caplog.text


def test_weights_without_a_card_are_loaded_with_a_warning(weights, caplog):
    (weights.parent / "model.json").unlink()
    check(weights, TASKS[:1])
    assert "No model.json beside the weights" in caplog.text


def test_the_card_of_other_weights_is_ignored(weights, caplog):
    torch.save({"a": torch.ones(1)}, weights)
    check(weights, TASKS[:1])
    assert "describes other weights" in caplog.text


def test_an_invalid_card_is_refused(weights):
    (weights.parent / "model.json").write_text("[]")
    with pytest.raises(ValueError, match="is not a model card"):
        check(weights)


def test_missing_weights_raise_an_error_that_names_the_option(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weights at .*none\.pt; set --ckpt_path to their file"):
        check(tmp_path / "none.pt")


def test_a_training_writes_a_card_and_a_flat_state_dict(tmp_path):
    training, path = build_training(1), tmp_path / "models/model.pt"
    SaveCheckpoints(training.state, str(tmp_path / "last.pt"), str(path), make_tasks(), [16, 16]).attach(
        training.trainer
    )
    training.run()
    assert all(isinstance(value, torch.Tensor) for value in torch.load(path, weights_only=True).values())
    card = json.loads((tmp_path / "models/model.json").read_text())
    assert card["image_size"] == [16, 16]
    assert [task["name"] for task in card["tasks"]] == ["lung", "finding"]
    assert card["tasks"][1]["classes"] == ["normal", "pneumonia"]
    check(path, make_tasks(), [16, 16])
    with pytest.raises(ValueError, match="image_size"):
        check(path, make_tasks(), [32, 32])


def test_weights_of_another_network_are_refused_with_the_remedy(tmp_path):
    path, engine = tmp_path / "model.pt", Engine(lambda *_: None)
    torch.save(torch.nn.Linear(2, 3).state_dict(), path)
    CheckWeights(str(path), [], [16, 16]).attach(engine)
    engine.network = torch.nn.Linear(2, 3)
    engine.run([0])
    engine.network = torch.nn.Linear(4, 3)
    with pytest.raises(
        ValueError, match=r"1 of 2 tensors differ, such as 'weight' of shape \(3, 2\) .* \(3, 4\)"
    ) as error:
        engine.run([0])
    assert "--network_def#encoder" in str(error.value)
