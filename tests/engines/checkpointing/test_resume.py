"""An interrupted and resumed training equals an uninterrupted one bit for bit."""

import logging
import shutil
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.handlers import CheckpointLoader

from mtmedformer_monai.engines import History, ResumeTraining, SaveCheckpoints
from mtmedformer_monai.io.atomic_files import load_checkpoint
from tests.engines.tiny_training import Training, build_training
from tests.nested import assert_same


class KilledError(Exception):
    """Simulates the signal that kills the process."""


def train(folder: Path, max_epochs: int, resume: bool = False, kill_in: int | None = None, **options) -> Training:
    training = build_training(max_epochs, patience=50, **options)
    if resume:
        training.attach(ResumeTraining(training.state, str(folder / "checkpoint.pt")))
    training.attach(
        SaveCheckpoints(training.state, str(folder / "checkpoint.pt"), str(folder / "model.pt")),
        History(str(folder / "history.json"), training.evaluator),
    )
    if kill_in is not None:
        training.trainer.add_event_handler(Events.ITERATION_STARTED(once=2 * kill_in), kill)
        with pytest.raises(KilledError):
            training.run()
        return training
    return training.run()


def kill(engine):
    raise KilledError


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("balance", ["famo", "uncertainty"])
def test_resumed_equals_uninterrupted(tmp_path, num_workers, balance):
    options = {"num_workers": num_workers, "balance": balance}
    whole = train(tmp_path / "whole", 4, **options)
    train(tmp_path / "parts", 4, kill_in=3, **options)  # in the last iteration of epoch 3: two epochs are kept
    assert load_checkpoint(tmp_path / "parts" / "checkpoint.pt")["epoch"] == 2
    resumed = train(tmp_path / "parts", 4, resume=True, **options)
    assert_same(whole.network.state_dict(), resumed.network.state_dict())
    for name in ("checkpoint.pt", "model.pt"):
        assert_same(*(load_checkpoint(tmp_path / run / name) for run in ("whole", "parts")))
    assert resumed.evaluator.state.best_metric == whole.evaluator.state.best_metric


def test_epochs_differ_and_seeds_matter(tmp_path):
    """Without this, the test above would hold for a trainer that repeats one epoch."""
    four, three = train(tmp_path / "a", 4), train(tmp_path / "b", 3)
    assert not torch.equal(four.network.stem.weight, three.network.stem.weight)
    losses = [row["train"]["loss_lung"] for row in four.handlers[-1].rows]
    assert len(set(losses)) == 4


def test_a_resumed_training_continues_its_history(tmp_path):
    whole = train(tmp_path / "whole", 4)
    train(tmp_path / "parts", 4, kill_in=4)
    rows = train(tmp_path / "parts", 4, resume=True).handlers[-1].rows
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    for mine, theirs in zip(rows, whole.handlers[-1].rows, strict=True):
        assert mine["train"] == theirs["train"]
        assert mine["validation"] == pytest.approx(theirs["validation"], nan_ok=True)


def test_resuming_a_completed_training_changes_nothing(tmp_path):
    done = train(tmp_path, 2)
    again = train(tmp_path, 2, resume=True)
    assert_same(done.network.state_dict(), again.network.state_dict())
    assert again.trainer.state.epoch == 2


def test_a_checkpoint_beyond_max_epochs_is_refused(tmp_path):
    train(tmp_path, 3)
    with pytest.raises(ValueError, match="has 3 epochs, more than max_epochs 2; increase it"):
        train(tmp_path, 2, resume=True)


def test_a_checkpoint_with_other_parts_is_refused(tmp_path):
    train(tmp_path, 1)
    other = build_training(2)
    other.attach(ResumeTraining(other.state, str(tmp_path / "checkpoint.pt")))
    with pytest.raises(ValueError, match=r"early_stop.*resume with the config"):
        other.run()


def test_weights_cannot_be_resumed_from(tmp_path):
    train(tmp_path, 1)
    other = build_training(2)
    other.attach(ResumeTraining(other.state, str(tmp_path / "model.pt")))
    with pytest.raises(ValueError, match="a file of weights can initialize a training"):
        other.run()


def train_at(folder, max_epochs: int, learning_rate: float, weight_decay: float) -> tuple[dict, list[float]]:
    """Resumes with these settings; returns those of the optimizer's group, and the rate of each epoch's last step."""
    training, rates = build_training(max_epochs), []
    group = training.trainer.optimizer.param_groups[0]
    group.update(initial_lr=learning_rate, lr=learning_rate / 3, weight_decay=weight_decay)
    training.state._parts["schedule"].base_lrs = [learning_rate]
    path = str(folder / "checkpoint.pt")
    training.trainer.add_event_handler(Events.EPOCH_STARTED, lambda engine: rates.append(group["lr"]))
    training.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: rates.append(group["lr"]))
    training.attach(ResumeTraining(training.state, path, required=False), SaveCheckpoints(training.state, path, None))
    training.run()
    return training.trainer.optimizer.param_groups[0], rates


def test_a_resumed_training_takes_learning_rate_and_weight_decay_from_its_config(tmp_path, caplog):
    (tmp_path / "changed").mkdir()
    train_at(tmp_path, 2, 0.04, 0.1)
    shutil.copy(tmp_path / "checkpoint.pt", tmp_path / "changed/checkpoint.pt")
    _, as_before = train_at(tmp_path, 3, 0.04, 0.1)
    assert "from here on" not in caplog.text
    with caplog.at_level(logging.INFO):
        group, lower = train_at(tmp_path / "changed", 3, 0.01, 0.0)
    assert lower == pytest.approx([rate / 4 for rate in as_before])
    assert (group["initial_lr"], group["weight_decay"]) == (0.01, 0.0)
    assert "learning_rate is 0.01 from here on, and 0.04 before" in caplog.text
    assert "weight_decay is 0 from here on, and 0.1 before" in caplog.text


def test_first_start_needs_no_checkpoint(tmp_path):
    training, path = build_training(1), str(tmp_path / "checkpoint.pt")
    training.attach(ResumeTraining(training.state, path, required=False)).run()
    assert training.trainer.state.epoch == 1
    strict = build_training(1)
    strict.attach(ResumeTraining(strict.state, path))
    with pytest.raises(FileNotFoundError, match="found none at"):
        strict.run()


def test_resuming_runs_after_checkpoint_loaders_and_before_other_handlers(tmp_path):
    """Handlers of the trainer are attached first, but checkpoints they load must not replace the resumed state."""
    done = train(tmp_path, 2)
    torch.save({name: value + 1 for name, value in done.network.state_dict().items()}, tmp_path / "start.pt")
    training, seen = build_training(3, patience=50), []
    CheckpointLoader(str(tmp_path / "start.pt"), {"model": training.network}).attach(training.trainer)
    training.trainer.add_event_handler(Events.STARTED, lambda engine: seen.append(engine.state.epoch))
    training.trainer.add_event_handler(
        Events.STARTED, lambda engine: seen.append(torch.equal(engine.network.stem.weight, done.network.stem.weight))
    )
    training.attach(ResumeTraining(training.state, str(tmp_path / "checkpoint.pt"))).run()
    assert seen == [2, True]


def test_a_checkpoint_of_another_network_is_refused_with_the_remedy(tmp_path):
    train(tmp_path, 1)
    content = load_checkpoint(tmp_path / "checkpoint.pt")
    name = next(iter(content["parts"]["network"]))
    content["parts"]["network"][name] = torch.zeros(1, 2, 3)
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="another network; repeat the network options"):
        train(tmp_path, 2, resume=True)
