import torch
from torch import nn

from mtmedformer_monai.federated.strategies import FedBN, norm_parameters
from tests.federated.strategies.exact_clients import assert_it_resumes_after_restoring, federate, fixed, random_client

START = {"conv.weight": torch.zeros(1), "norm1.weight": torch.ones(1), "3.bias": torch.zeros(1)}
SITES = [
    fixed({"conv.weight": 2.0, "norm1.weight": 5.0, "3.bias": 1.0}),
    fixed({"conv.weight": 4.0, "norm1.weight": 7.0, "3.bias": 3.0}),
]


def test_all_but_norms_is_averaged():
    server, rules = federate(FedBN(), START, SITES)
    assert {name: value.item() for name, value in server.weights().items()} == {
        "conv.weight": 3.0,
        "norm1.weight": 1.0,
        "3.bias": 2.0,
    }
    assert rules[1].receive(server.broadcast())["norm1.weight"].item() == 7.0


def test_norms_of_any_network_by_their_names():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    assert norm_parameters(network) == [
        "1.weight",
        "1.bias",
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
    ]
    rule = FedBN(norm_parameters(network)).client()
    start = rule.receive({f"mean/{name}": value for name, value in network.state_dict().items()})
    message = rule.send(fixed(dict.fromkeys(start, 1.0))(rule, start))
    assert {name.partition("/")[2] for name in message} == {"0.weight", "0.bias"}


def test_it_resumes_after_restoring():
    sites = [random_client(seed, ("conv.weight", "norm1.weight")) for seed in range(2)]
    assert_it_resumes_after_restoring(FedBN(), START, sites)
