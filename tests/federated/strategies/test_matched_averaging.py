import pytest
import torch

from mtmedformer_monai.federated.alignment.permutation import permute, random_permutation
from mtmedformer_monai.federated.strategies import FedAvg, MatchedAveraging
from mtmedformer_monai.federated.strategy import LocalTraining
from mtmedformer_monai.layers.permutation_groups import FIXED, Group, PermutationGroups

GROUPS = PermutationGroups(
    {"hidden": Group(8)}, {"a.weight": (("hidden",), FIXED), "a.bias": (("hidden",),), "b.weight": (FIXED, ("hidden",))}
)


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a.weight": (8, 5), "a.bias": (8,), "b.weight": (3, 8)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def send(strategy, trained: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    rule = strategy.client(GROUPS)
    rule.receive(strategy.server(weights()).broadcast())
    return rule.send(LocalTraining(trained, dict.fromkeys(trained, 4)))


def test_a_scrambled_copy_is_sent_in_the_broadcast_order():
    permutation = random_permutation(GROUPS, torch.Generator().manual_seed(0))
    message = send(MatchedAveraging(), permute(weights(), GROUPS, permutation))
    for name, value in weights().items():
        assert torch.equal(message[f"precision_mean/{name}"], 4 * value)


def test_from_common_weights_it_is_federated_averaging_bit_for_bit():
    trained = {name: value + 0.01 * torch.randn_like(value) for name, value in weights().items()}
    matched, plain = send(MatchedAveraging(), trained), send(FedAvg(), trained)
    assert all(torch.equal(matched[name], value) for name, value in plain.items())


def test_tensors_without_groups_are_averaged_as_they_are():
    message = send(MatchedAveraging(), {**weights(), "c.weight": torch.ones(2)})
    assert message["precision_mean/c.weight"].tolist() == [4.0, 4.0]


def test_a_network_without_groups_is_refused():
    with pytest.raises(ValueError, match="declares its permutation groups"):
        MatchedAveraging().client()
