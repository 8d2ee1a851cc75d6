from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mtmedformer_monai.federated.client import input_gram
from mtmedformer_monai.federated.client.input_gram import InputGram, gram_layers, inputs_of, measure_input_gram
from mtmedformer_monai.federated.client.local_training import LocalTrainingHandler
from mtmedformer_monai.federated.client.ownership import own
from mtmedformer_monai.federated.strategies.fedavg import AveragingClient
from mtmedformer_monai.federated.strategy import GramRequest
from tests.federated.tiny_client import make_trainer
from tests.networks.small import small_network

BOTH, LEFT, NONE = {"left": "yes", "right": "no"}, {"left": "yes"}, {}
ALL = GramRequest(max_inputs=10_000, max_images=1000)


def gram_of(network, image, request=ALL):
    layers = gram_layers(network, request.max_inputs)
    grams = InputGram(layers, request, {name: frozenset(["all"]) for name in layers})
    grams.observe(lambda: network(image), {"all": torch.ones(len(image), dtype=torch.bool)})
    return grams.matrices()


def test_two_images_by_hand():
    """Inputs (1, 2, 1) and (3, 4, 1), with the last for the bias."""
    found = gram_of(nn.Sequential(nn.Linear(2, 1)), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert found["0.weight"].tolist() == [[5.0, 7.0, 2.0], [7.0, 10.0, 3.0], [2.0, 3.0, 1.0]]


CONVOLUTIONS = {
    "plain": {"kernel_size": 3},
    "strided": {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 0)},
    "dilated": {"kernel_size": 3, "dilation": (1, 2), "padding": "same", "bias": False},
    "reflected": {"kernel_size": 3, "padding": (2, 1), "padding_mode": "reflect"},
}


@pytest.mark.parametrize("settings", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_patches_give_the_convolution(settings):
    layer, image = nn.Conv2d(3, 5, **settings), torch.randn(3, 7, 8)
    weight = layer.weight.flatten(1)
    full = weight if layer.bias is None else torch.cat([weight, layer.bias[:, None]], dim=1)
    torch.testing.assert_close(inputs_of(layer, image) @ full.T, layer(image[None])[0].flatten(1).T)


@torch.no_grad()
def test_squared_outputs_of_every_layer_follow_from_its_matrix():
    """The mean of y y' over all outputs is W A W', for every layer of a network with all kinds of tasks."""
    network, outputs = small_network().eval(), {}
    layers = gram_layers(network, 10_000)
    for name, layer in layers.items():
        layer.register_forward_hook(lambda _, inputs, y, name=name: outputs.setdefault(name, []).append(y))
    found = gram_of(network, torch.rand(2, 1, 64, 64))
    not_called = {name for name in layers if name.endswith("key_value.weight") and name.startswith("decoders.")}
    assert len(outputs) > 30
    assert set(found) == set(outputs) == set(layers) - not_called  # classifiers compute with these weights themselves
    for name in outputs:
        layer = layers[name]
        rows = [y.flatten(2).transpose(1, 2) if isinstance(layer, nn.Conv2d) else y for y in outputs[name]]
        values = torch.cat([each.reshape(-1, layer.weight.shape[0]) for each in rows])
        weight = layer.weight.flatten(1)
        weight = weight if layer.bias is None else torch.cat([weight, layer.bias[:, None]], dim=1)
        expected = values.T @ values / len(values)
        torch.testing.assert_close(weight @ found[name] @ weight.T, expected, rtol=1e-3, atol=1e-5, msg=name)


def test_only_suitable_layers_have_a_matrix():
    network = nn.ModuleDict(
        {
            "depthwise": nn.Conv2d(4, 4, 3, groups=4),
            "wide": nn.Conv2d(4, 1, 3),
            "narrow": nn.Conv2d(4, 1, 2),
            "norm": nn.LayerNorm(4),
            "one": nn.Linear(2, 2),
            "other": nn.Linear(2, 2),
        }
    )
    network["other"].weight = network["one"].weight
    assert set(gram_layers(network, 16)) == {"narrow.weight"}


def test_a_layer_sees_the_images_of_its_tasks():
    trainer = make_trainer([BOTH, LEFT, NONE, BOTH, LEFT], batch_size=2)
    found = measure_input_gram(trainer, own(trainer), ALL)
    images = torch.cat([trainer.data_loader.dataset.images, torch.ones(5, 1)], dim=1)
    labeled = images[[0, 1, 3, 4]]
    torch.testing.assert_close(found["encoder.weight"], labeled.T @ labeled / 4)

    network = trainer.network.eval()
    with torch.no_grad():
        features = network.norm(network.encoder(images[:, :3]))
        right = torch.cat([network.decoders["right"][0](features), torch.ones(5, 1)], dim=1)[[0, 3]]
    torch.testing.assert_close(found["decoders.right.1.weight"], right.T @ right / 2)


def test_a_layer_without_labels_has_no_matrix():
    trainer = make_trainer([LEFT] * 4)
    assert set(measure_input_gram(trainer, own(trainer), ALL)) == {"encoder.weight", "decoders.left.1.weight"}


def test_the_pass_ends_when_all_layers_have_enough_images():
    trainer = make_trainer([BOTH] * 12, batch_size=2)
    found = measure_input_gram(trainer, own(trainer), GramRequest(100, max_images=4))
    images = torch.cat([trainer.data_loader.dataset.images[:4], torch.ones(4, 1)], dim=1)
    torch.testing.assert_close(found["encoder.weight"], images.T @ images / 4)


def test_the_pass_waits_for_rare_labels_but_not_forever():
    request = GramRequest(100, max_images=2)
    soon, late = ([LEFT] * count + [BOTH] * 2 for count in (4, 10))
    trainer = make_trainer(soon, batch_size=2)
    found = measure_input_gram(trainer, own(trainer), request)
    assert "decoders.right.1.weight" in found
    images = torch.cat([trainer.data_loader.dataset.images[:2], torch.ones(2, 1)], dim=1)
    torch.testing.assert_close(found["encoder.weight"], images.T @ images / 2)  # it had enough after the first batch
    trainer = make_trainer(late, batch_size=2)
    assert "decoders.right.1.weight" not in measure_input_gram(trainer, own(trainer), request)


def test_drawn_positions_count_for_all_positions(monkeypatch):
    """An image of 16 equal positions, and the same layer's call with a single position of another value."""
    monkeypatch.setattr(input_gram, "MAX_POSITIONS", 4)
    layer = nn.Linear(1, 1, bias=False)
    network = nn.Sequential(layer)

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = network

        def forward(self, image):
            return self.layer(image), self.layer(3.0 * image[:, :1])

    found = gram_of(Twice(), torch.full((1, 16, 1), 2.0))
    torch.testing.assert_close(found["layer.0.weight"], torch.tensor([[(16 * 4.0 + 36.0) / 17]]))


class Asking(AveragingClient):
    needs_input_gram = ALL


def test_it_comes_with_the_trained_weights_and_changes_nothing():
    plain, asked = make_trainer([BOTH] * 8), make_trainer([BOTH] * 8)
    results = []
    for trainer, rule in ((plain, AveragingClient()), (asked, Asking())):
        training = LocalTrainingHandler(rule, own(trainer))
        training.attach(trainer)
        trainer.run()
        results.append(training.finish())
    assert results[0].input_gram == {}
    assert set(results[1].input_gram) == {"encoder.weight", "decoders.left.1.weight", "decoders.right.1.weight"}
    before = copy.deepcopy(plain.network.state_dict())
    for name, value in asked.network.state_dict().items():
        assert torch.equal(value, before[name]), name
        assert torch.equal(results[0].weights[name], results[1].weights[name]), name
    assert asked.network.training == plain.network.training
