import torch

from mtmedformer_monai.federated.split.channel import DOWN, UP, Channel, CrossingKind, Traffic
from tests.federated.split.tiny_sites import Listener


def test_counts_by_site_direction_and_kind():
    traffic = Traffic()
    Channel("a", traffic).send(torch.zeros(2, 3), UP, CrossingKind.FEATURES)
    Channel("a", traffic).send(torch.zeros(5, dtype=torch.float64), DOWN, CrossingKind.GRADIENTS)
    Channel("b", traffic).send_all({"w": torch.zeros(7), "v": torch.zeros(1)}, DOWN, CrossingKind.ONCE)
    assert traffic.total() == 24 + 40 + 32
    assert (traffic.total("a"), traffic.total(direction=DOWN), traffic.total("b", kind=CrossingKind.WEIGHTS)) == (
        64,
        72,
        0,
    )
    assert (traffic.each_round(), traffic.each_round("b")) == (64, 0)


def test_what_arrives_is_a_copy_without_a_graph():
    weight = torch.ones(2, requires_grad=True)
    made = 3 * weight
    arrived = Channel("a", Traffic()).send(made, UP, CrossingKind.FEATURES)
    arrived += 1.0
    assert not arrived.requires_grad
    assert made.tolist() == [3.0, 3.0]


def test_the_observer_sees_what_arrives():
    listener = Listener()
    Channel("a", Traffic(), listener).send(torch.arange(3.0), UP, CrossingKind.WEIGHTS)
    assert [each.tolist() for each in listener.of(UP, CrossingKind.WEIGHTS)] == [[0.0, 1.0, 2.0]]
    assert listener.of(DOWN, CrossingKind.WEIGHTS) == []
