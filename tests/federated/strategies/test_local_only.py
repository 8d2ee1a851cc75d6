import torch

from mtmedformer_monai.federated.strategies import LocalOnly
from tests.federated.strategies.exact_clients import federate, random_client, three_tensors


def test_clients_continue_from_their_own_weights_and_the_server_receives_nothing():
    server, rules = federate(LocalOnly(), three_tensors(), [random_client(0), random_client(1)], 2)
    assert all(torch.equal(value, three_tensors()[name]) for name, value in server.weights().items())
    one, other = (rule.receive(server.broadcast()) for rule in rules)
    generator = torch.Generator().manual_seed(0)
    step = 0.1 * torch.randn(3, 2, generator=generator)  # the first site's, twice
    torch.testing.assert_close(one["encoder"], three_tensors()["encoder"] - 2 * step)
    assert not torch.equal(one["encoder"], other["encoder"])
