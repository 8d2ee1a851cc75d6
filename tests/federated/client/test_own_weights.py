from __future__ import annotations

import pytest
import torch
from torch import nn

from mtmedformer_monai.engines import TrainingState
from mtmedformer_monai.federated.alignment.permutation import permute, permute_optimizer, random_permutation
from mtmedformer_monai.federated.client.own_weights import groups_of, join_with_own_weights
from tests.federated.tiny_client import make_trainer

BOTH = {"left": "yes", "right": "no"}


class Perceptron(nn.Module):
    """Two layers whose hidden units can be permuted."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 16), nn.Linear(16, 2)

    def forward(self, image):
        logits = self.second(self.first(image).relu())
        return {"left": logits[:, :1], "right": logits[:, 1:]}

    def permutable(self, declare):
        hidden = declare.group("hidden", 16)
        declare.layer("first", (), hidden)
        declare.layer("second", hidden, ())


def make_perceptron_trainer():
    trainer = make_trainer([BOTH] * 4)
    torch.manual_seed(1)
    trainer.network = Perceptron()
    trainer.optimizer = torch.optim.AdamW(trainer.network.parameters(), lr=0.01)
    return trainer


@pytest.fixture
def trained():
    trainer = make_perceptron_trainer()
    trainer.run()
    return trainer


@pytest.mark.parametrize("content", ["weights", "training state"])
def test_shuffled_units_come_back_into_place(trained, content, tmp_path):
    reference = {name: value.clone() for name, value in trained.network.state_dict().items()}
    moment = trained.optimizer.state[trained.network.first.weight]["exp_avg"].clone()
    groups = groups_of(trained.network)
    order = random_permutation(groups, torch.Generator().manual_seed(0))
    trained.network.load_state_dict(permute(reference, groups, order))
    permute_optimizer(trained.optimizer, trained.network, groups, order)
    state = TrainingState().capture(trained)
    torch.save(state if content == "training state" else state["parts"]["network"], tmp_path / "own.pt")

    joining = make_perceptron_trainer()
    join_with_own_weights(tmp_path / "own.pt", joining, joining.network, reference, {})
    torch.testing.assert_close(joining.network.state_dict(), reference, rtol=0, atol=0)
    if content == "training state":
        found = joining.optimizer.state[joining.network.first.weight]["exp_avg"]
        torch.testing.assert_close(found, moment, rtol=0, atol=0)


def test_a_network_without_groups_joins_as_it_is(tmp_path, caplog):
    trainer = make_trainer([BOTH] * 4)
    assert groups_of(trainer.network) is None
    own = {name: value + 1 for name, value in trainer.network.state_dict().items()}
    torch.save(own, tmp_path / "own.pt")
    join_with_own_weights(tmp_path / "own.pt", trainer, trainer.network, trainer.network.state_dict(), {})
    torch.testing.assert_close(trainer.network.state_dict(), own)
    assert "declares no permutation groups" in caplog.text
