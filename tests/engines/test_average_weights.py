"""The moving average of the weights: its window, its place in a training, and resuming."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mtmedformer_monai.engines import AverageWeights, ResumeTraining, SaveCheckpoints
from mtmedformer_monai.io.atomic_files import load_checkpoint
from tests.engines.tiny_training import Training, build_training


def averages_of(values: list[float], epochs: float, epoch_length: int) -> list[float]:
    """Sets the one weight of a network to each of `values`, a step each, and returns its average after each step."""
    network = nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    average = AverageWeights(network, optimizer, epochs, epoch_length)
    averages = []
    for value in values:
        network.weight.grad = network.weight.detach() - value
        optimizer.step()
        averages.append(average.network.weight.item())
    return averages


def test_plain_mean_within_the_first_window():
    assert averages_of([1, 3, 8, 4], epochs=2, epoch_length=10) == pytest.approx([1, 2, 4, 4])


def test_moves_by_one_step_in_a_window_after_it():
    """Window of 4 steps: 1, 1, 1, 1, then 1 + (9 - 1) / 4 = 3 and 3 + (9 - 3) / 4 = 4.5."""
    assert averages_of([1, 1, 1, 1, 9, 9], epochs=2, epoch_length=2) == pytest.approx([1, 1, 1, 1, 3, 4.5])


@pytest.mark.parametrize(("accumulated", "window"), [(1, 20.0), (4, 6.0), (10, 2.0)])
def test_the_window_has_as_many_epochs_when_gradients_are_accumulated(accumulated, window):
    """2 epochs of 10 batches: 10, 3 (after 4, 8 and 10 batches) or 1 step per epoch."""
    network = nn.Linear(1, 1)
    average = AverageWeights(network, torch.optim.SGD(network.parameters()), 2, 10)
    state = SimpleNamespace(epoch_length=10)
    average.attach(SimpleNamespace(state=state, accumulation_steps=accumulated))
    assert average._window == window


def test_zero_epochs_keep_the_trained_network():
    network = nn.Linear(1, 1)
    average = AverageWeights(network, torch.optim.SGD(network.parameters()), 0, 10)
    assert average.network is network
    assert average.state_dict() == {}


def test_negative_window_is_refused():
    network = nn.Linear(1, 1)
    with pytest.raises(ValueError, match=r"average_epochs expects 0 \(off\) or a number of epochs, got -1"):
        AverageWeights(network, torch.optim.SGD(network.parameters()), -1, 10)


def test_buffers_follow_the_trained_network():
    network = nn.BatchNorm1d(2)
    optimizer = torch.optim.SGD(network.parameters())
    average = AverageWeights(network, optimizer, 1, 10)
    network(torch.randn(8, 2))
    optimizer.step()
    assert torch.equal(average.network.running_mean, network.running_mean)


def train(folder, max_epochs: int) -> tuple[Training, AverageWeights]:
    """Starts or resumes a training that validates and saves the average."""
    training = build_training(max_epochs)
    average = AverageWeights(training.network, training.trainer.optimizer, 2, 2)
    training.evaluator.network = average.network
    training.state._parts["average"] = average
    training.attach(
        ResumeTraining(training.state, str(folder / "checkpoint.pt"), required=False),
        SaveCheckpoints(training.state, str(folder / "checkpoint.pt"), str(folder / "model.pt")),
    )
    training.run()
    return training, average


def test_the_average_is_what_is_saved(tmp_path):
    training, average = train(tmp_path, 1)
    saved = load_checkpoint(tmp_path / "model.pt")
    assert all(torch.equal(saved[name], weight) for name, weight in average.network.state_dict().items())
    assert not torch.equal(saved["mask.weight"], training.network.mask.weight)


def test_resumed_average_equals_an_uninterrupted_one(tmp_path):
    (tmp_path / "parts").mkdir()
    _, whole = train(tmp_path, 3)
    train(tmp_path / "parts", 2)
    _, resumed = train(tmp_path / "parts", 3)
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], weight)
