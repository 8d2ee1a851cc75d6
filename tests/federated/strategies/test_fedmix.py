import pytest
import torch

from mtmedformer_monai.federated.strategies import FedAvg, FedMix
from mtmedformer_monai.federated.strategy import LocalTraining
from mtmedformer_monai.federated.teaching import EVERY_TASK, Gate
from mtmedformer_monai.federated.wire import with_repeats, without_repeats
from tests.federated.strategies.exact_clients import (
    assert_any_order_is_the_same,
    assert_it_resumes_after_restoring,
    federate,
    fixed,
    random_client,
    three_tensors,
)


def lossy(seed, loss):
    train = random_client(seed)

    def with_loss(rule, start):
        found = train(rule, start)
        return LocalTraining(found.weights, found.num_samples, loss=loss)

    return with_loss


SITES = [lossy(0, 1.0), lossy(1, 4.0), lossy(2, 0.5)]


def test_weights_by_images_and_loss_by_hand():
    """Images 10 and 30, losses 4 and 1, beta 0.5, lambda 3: weights (1/4 + 3 * 2/3) / 4 and (3/4 + 3 * 1/3) / 4."""
    sites = [fixed({"w": 16.0}, 10, loss=4.0), fixed({"w": 0.0}, 30, loss=1.0)]
    server, _ = federate(FedMix(quality=3.0, exponent=0.5), {"w": torch.zeros(1)}, sites)
    assert server.weights()["w"].item() == pytest.approx(16.0 * (0.25 + 2.0) / 4)


@pytest.mark.parametrize("quality", [0.0, 10.0])
def test_rows_of_classes_that_a_client_does_not_know_weigh_nothing(quality):
    """One client knows the first class, both the second: the first row is the knowing client's, whatever its loss."""
    sites = [
        lambda *_: LocalTraining({"w": torch.tensor([8.0, 8.0])}, {"w": 10}, loss=2.0),
        lambda *_: LocalTraining(
            {"w": torch.tensor([4.0, 4.0])}, {"w": 10}, loss=2.0, unlearned={"w": torch.tensor([True, False])}
        ),
    ]
    server, _ = federate(FedMix(quality), {"w": torch.zeros(2)}, sites)
    torch.testing.assert_close(server.weights()["w"], torch.tensor([8.0, 6.0]))


def test_on_the_wire_a_message_has_two_tensors_per_parameter():
    rule = FedMix().client()
    training = lossy(0, 2.0)(rule, rule.receive(FedMix().server(three_tensors()).broadcast()))
    sent, shapes = without_repeats(rule.send(training))
    numbers = sum(training.weights[name].numel() for name in training.num_samples)
    weights = 2 * len(training.num_samples)  # by images and by the loss, one number each
    assert sum(value.numel() for value in sent.values()) == 2 * numbers + weights
    back = with_repeats(sent, shapes)
    assert all(torch.equal(back[name], value) for name, value in rule.send(training).items())


def test_without_the_loss_it_averages_by_images_bit_for_bit():
    mixed, _ = federate(FedMix(quality=0.0), three_tensors(), SITES, 3)
    plain, _ = federate(FedAvg(), three_tensors(), SITES, 3)
    assert all(torch.equal(value, plain.weights()[name]) for name, value in mixed.weights().items())


def test_clients_without_a_loss_count_by_their_images():
    server, _ = federate(FedMix(), {"w": torch.zeros(1)}, [fixed({"w": 1.0}, 10), fixed({"w": 5.0}, 30)])
    assert server.weights()["w"].tolist() == [4.0]


def test_counters_and_untrained_weights_stay_whole():
    start = {"w": torch.zeros(1), "still": torch.rand(2), "steps": torch.tensor(0)}

    def train(rule, weights):
        return LocalTraining({"w": torch.ones(1), "steps": torch.tensor(3)}, {"w": 2, "steps": 2}, loss=0.7)

    server, _ = federate(FedMix(), start, [train, train])
    assert torch.equal(server.weights()["still"], start["still"])
    assert server.weights()["steps"].tolist() == 3
    torch.testing.assert_close(server.weights()["w"], torch.ones(1))


def test_the_global_network_teaches_from_the_second_round_and_is_checked_from_the_third():
    strategy = FedMix(completion_weight=0.5, min_probability=0.9, min_score=0.4, agreement=0.8, soft=True)
    server, rule = strategy.server({"w": torch.zeros(1)}), strategy.client()
    seen = []
    for number in range(3):
        start = rule.receive(server.broadcast())
        seen.append((start["w"].clone(), rule.teaching()))
        server.add(rule.send(LocalTraining({"w": torch.ones(1) * (number + 1)}, {"w": 1}, loss=1.0)))
        server.close_round()
    assert seen[0][1] is None
    second, third = (seen[index][1].teachers[EVERY_TASK] for index in (1, 2))
    assert torch.equal(second.mean["w"], seen[1][0])
    assert second.previous is None
    assert torch.equal(third.mean["w"], seen[2][0])
    assert torch.equal(third.previous["w"], seen[1][0])
    found = seen[2][1]
    assert (found.gate, found.weight, found.soft) == (Gate(0.9, 0.4, 0.8), 0.5, True)


def test_order_of_clients_never_matters():
    assert_any_order_is_the_same(FedMix(), three_tensors(), SITES)


def test_it_resumes_after_restoring():
    assert_it_resumes_after_restoring(FedMix(), three_tensors(), SITES)


def test_a_negative_share_is_rejected():
    with pytest.raises(ValueError, match="quality expects 0 or more, got -1"):
        FedMix(quality=-1)
