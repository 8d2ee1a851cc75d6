import math

import pytest
import torch
from monai.engines import IterationEvents

from mtmedformer_monai.engines.handlers.losses_by_task import MeanLosses
from tests.engines.tiny_training import build_training, make_tasks


def test_means_by_hand():
    means = MeanLosses(make_tasks())
    means.update(torch.tensor(3.0), torch.tensor([1.0, 2.0]), torch.tensor([True, True]))
    means.update(torch.tensor(5.0), torch.tensor([5.0, math.nan]), torch.tensor([True, False]))  # no label of the other
    means.update(torch.tensor(0.0), torch.zeros(2), torch.tensor([False, False]))  # nothing annotated at all
    assert means.compute() == {"loss": 4.0, "loss_lung": 3.0, "loss_finding": 2.0}
    means.reset()
    assert all(math.isnan(value) for value in means.compute().values())


def test_trainer_has_losses_and_learning_rate():
    training, joint, lung = build_training(1), [], []

    @training.trainer.on(IterationEvents.LOSS_COMPLETED)
    def remember(trainer):
        joint.append(trainer.state.output["loss"].item())
        lung.append(training.loss.last["lung"].item())

    metrics = training.run().trainer.state.metrics
    assert metrics["loss"] == pytest.approx(sum(joint) / 2)
    assert metrics["loss_lung"] == pytest.approx(sum(lung) / 2)
    assert metrics["learning_rate"] == training.trainer.optimizer.param_groups[0]["lr"] > 0


def test_validation_changes_no_state():
    training = build_training(1, balance="fixed")
    before = {name: value.clone() for name, value in training.loss.state_dict().items()}
    training.evaluator.run()
    metrics = training.evaluator.state.metrics
    assert metrics["loss"] > 0
    assert metrics["loss_lung"] > 0
    assert "learning_rate" not in metrics
    after = training.loss.state_dict()
    assert all(torch.equal(before[name].nan_to_num(-1), after[name].nan_to_num(-1)) for name in before)
    assert training.loss.training
