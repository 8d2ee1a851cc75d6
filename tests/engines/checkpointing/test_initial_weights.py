"""A training starts from weights that fit, and refuses a file that does not."""

import logging

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from mtmedformer_monai.engines import LoadInitialWeights


class SmallNetwork(nn.Module):
    """An encoder and a decoder per task."""

    def __init__(self, *tasks: str) -> None:
        super().__init__()
        self.encoder = nn.Linear(2, 2)
        self.decoders = nn.ModuleDict({task: nn.Linear(2, 1) for task in tasks})


def start(path, network):
    LoadInitialWeights(network, str(path))()
    return network.state_dict()


@pytest.mark.parametrize("tasks", [("lung",), ("reconstruction",)], ids=["fewer tasks", "pretraining"])
def test_what_the_file_has_is_loaded_and_counted(tmp_path, caplog, tasks):
    trained, network = SmallNetwork(*tasks).state_dict(), SmallNetwork("lung", "finding")
    torch.save(trained, tmp_path / "model.pt")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with caplog.at_level(logging.INFO):
        found = start(tmp_path / "model.pt", network)
    for name, value in found.items():
        assert torch.equal(value, trained.get(name, before[name]))
    assert f"starts from {4 if 'lung' in tasks else 2} of 6 tensors" in caplog.text


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (lambda weights: {"format": 1, "parts": {"network": weights}}, "a training state"),
        (lambda weights: {f"image_network.{name}": value for name, value in weights.items()}, "none of its weights"),
        (
            lambda weights: {name: value for name, value in weights.items() if "encoder" not in name},
            "none of its encoder's weights",
        ),
        (lambda weights: {name: value[None] for name, value in weights.items()}, "4 tensors of another shape"),
    ],
    ids=["checkpoint", "other names", "other encoder", "other size"],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, content, problem):
    network = SmallNetwork("lung")
    torch.save(content(network.state_dict()), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=f"start_from expects .* got {problem}.* use its model.pt"):
        start(tmp_path / "model.pt", network)


def test_later_runs_of_a_trainer_keep_their_weights(tmp_path):
    """As the rounds of a stock federated client."""
    network, engine = SmallNetwork("lung"), Engine(lambda *_: None)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    LoadInitialWeights(network, str(tmp_path / "model.pt")).attach(engine)
    engine.run([0])
    nn.init.zeros_(network.encoder.weight)
    engine.run([0])
    assert not network.encoder.weight.any()
