from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from monai.fl.utils.constants import ExtraItems, FlStatistics, ModelType, WeightType
from monai.fl.utils.exchange_object import ExchangeObject

from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.client.bayesian_monai_algo import BayesianMonaiAlgo
from mtmedformer_monai.federated.exchange import IMAGES_BY_TASK, ROUND
from mtmedformer_monai.federated.strategies.fedavg import AveragingClient, FedAvg
from tests.bundles.conftest import ROOT
from tests.federated.rounds import assert_equal, run_rounds, weights_of

CHEST = ROOT / "bundles/chest_xray_multitask"


class CorrectingClient(AveragingClient):
    """Steps towards the broadcast, needs squared gradients, and counts its rounds."""

    needs_squared_gradient = True
    rounds = 0

    def receive(self, broadcast):
        self._center = super().receive(broadcast)
        return self._center

    def correct(self, name, weight, gradient, num_samples):
        return gradient + 0.1 * (weight - self._center[name])

    def send(self, training):
        self.rounds += 1
        self.training = training
        return super().send(training)

    def state_dict(self):
        return {"rounds": self.rounds}

    def load_state_dict(self, state):
        self.rounds = state["rounds"]


class Correcting(FedAvg):
    def client(self, groups=None):
        return CorrectingClient()


def test_a_stock_bundle_is_averaged_by_images(stock):
    sites = [stock(), stock(train_kwargs={"seed": 1, "images": "$torch.rand(2, 1, 16, 16)"})]
    server = Aggregator(FedAvg(), weights_of(sites[0]))
    run_rounds(server, sites, 1)
    first, second = weights_of(sites[0]), weights_of(sites[1])
    for name, value in server.weights().items():
        mean = (6 * first[name] + 2 * second[name]) / 8
        torch.testing.assert_close(value.float(), mean.round() if not value.is_floating_point() else mean)
    assert float(sites[0].evaluate(server.broadcast()).metrics["val_dice"]) >= 0.0


def test_what_is_sent_stays_when_the_network_moves_on(stock):
    site = stock()
    server = Aggregator(FedAvg(), weights_of(site))
    site.train(server.broadcast())
    sent = site.get_weights()
    kept = {name: value.clone() for name, value in sent.weights.items()}
    with torch.no_grad():
        for parameter in site.trainer.network.parameters():
            parameter.add_(1.0)
    assert_equal(sent.weights, kept)
    assert_equal(site.get_weights().weights, kept)
    assert sent.weight_type == WeightType.WEIGHTS
    assert sent.statistics[FlStatistics.NUM_EXECUTED_ITERATIONS] == 2
    assert sent.statistics[FlStatistics.DATA_COUNT] == 6
    assert sent.statistics[IMAGES_BY_TASK] == {"all": 6}
    assert sent.statistics[ROUND] == 0


def test_trainer_and_evaluator_share_one_network_and_evaluating_leaves_no_trace(stock):
    site = stock()
    assert site.evaluator.network is site.trainer.network
    before = weights_of(site)
    far = Aggregator(FedAvg(), {name: value + 1 for name, value in before.items()})
    site.evaluate(far.broadcast())
    assert_equal(weights_of(site), before)


def test_rounds_continue_epochs_and_schedule(stock):
    site = stock(local_epochs=2)
    run_rounds(Aggregator(FedAvg(), weights_of(site)), [site], 2)
    assert (site.trainer.state.epoch, site.trainer.state.iteration) == (4, 8)
    assert site.trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * 0.5**4)


@pytest.mark.parametrize(("optimizer", "steps"), [("keep", 4), ("reset", 2)])
def test_the_optimizer_is_kept_or_reset(stock, optimizer, steps):
    site = stock(options={"optimizer": optimizer})
    run_rounds(Aggregator(FedAvg(), weights_of(site)), [site], 2)
    assert {int(state["step"]) for state in site.trainer.optimizer.state.values()} == {steps}


def test_a_killed_client_resumes_bit_for_bit(stock, tmp_path):
    site = stock(Correcting())
    start = weights_of(site)
    server = Aggregator(Correcting(), start)
    run_rounds(server, [site], 2)
    site.save(tmp_path / "memory")
    server.save(tmp_path / "server.pt")
    run_rounds(server, [site], 1)

    torch.manual_seed(99)
    again = stock(Correcting())
    again.restore(tmp_path / "memory")
    server_again = Aggregator(Correcting(), start)
    server_again.restore(tmp_path / "server.pt")
    run_rounds(server_again, [again], 1)
    assert_equal(server_again.weights(), server.weights())
    assert again.rule.rounds == 3
    assert again.trainer.state.epoch == 3
    assert set(again.rule.training.squared_gradient) == {name for name, _ in again.trainer.network.named_parameters()}


def test_a_round_is_not_trained_twice(stock):
    site = stock()
    server = Aggregator(FedAvg(), weights_of(site))
    site.train(server.broadcast())
    with pytest.raises(ValueError, match="expects a round after 0"):
        site.train(server.broadcast())


def test_an_aborted_round_is_not_sent_and_the_next_is_whole(stock):
    site = stock()
    server = Aggregator(FedAvg(), weights_of(site))
    with site.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda: site.abort()):
        site.train(server.broadcast())
    with pytest.raises(RuntimeError, match="nothing to send"):
        site.get_weights()
    site.train(server.broadcast())
    assert site.get_weights().statistics[FlStatistics.NUM_EXECUTED_ITERATIONS] == 2


def test_a_round_that_stops_early_is_sent_as_far_as_it_came(stock):
    site = stock(local_epochs=3)
    server = Aggregator(FedAvg(), weights_of(site))
    with site.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=1), lambda: site.trainer.terminate()):
        site.train(server.broadcast())
    assert site.get_weights().statistics[FlStatistics.NUM_EXECUTED_ITERATIONS] == 2


def test_a_checkpoint_of_the_bundle_does_not_replace_the_broadcast(stock, tmp_path):
    site = stock()
    server = Aggregator(FedAvg(), weights_of(site))
    far = {name: value + 1 for name, value in server.weights().items()}
    torch.save(far, tmp_path / "model.pt")
    loader = {
        "_target_": "CheckpointLoader",
        "load_path": str(tmp_path / "model.pt"),
        "load_dict": {"model": "@network"},
    }
    loading, plain = stock(train_kwargs={"train#handlers": [loader]}), stock(train_kwargs={"train#handlers": []})
    for each in (loading, plain):
        each.train(server.broadcast())
    assert_equal(weights_of(loading), weights_of(plain))


def test_a_network_of_another_architecture_is_rejected(stock):
    site = stock()
    with pytest.raises(KeyError, match="has no \\['other'\\]"):
        site.train(Aggregator(FedAvg(), {"other": torch.zeros(1)}).broadcast())
    with pytest.raises(TypeError, match="ExchangeObject"):
        site.train({"weights": {}})
    with pytest.raises(ValueError, match="expects weights, got none"):
        site.train(ExchangeObject())


@pytest.mark.parametrize("value", ["text", [1.0], object()], ids=["text", "list", "object"])
def test_a_broadcast_of_anything_but_numbers_is_refused(stock, value):
    site = stock()
    broadcast = Aggregator(FedAvg(), weights_of(site)).broadcast()
    broadcast.weights[next(iter(broadcast.weights))] = value
    before = weights_of(site)
    for receive in (site.train, site.evaluate, site.measure_losses):
        with pytest.raises(TypeError, match="expects a dense tensor, a numeric array or a plain number"):
            receive(broadcast)
    assert_equal(weights_of(site), before)


def test_a_checkpoint_is_given_as_by_monai(stock, tmp_path):
    site = stock()
    with pytest.raises(ValueError, match="No best model checkpoint"):
        site.get_weights({ExtraItems.MODEL_TYPE: ModelType.BEST_MODEL})


def test_the_choice_of_the_optimizer_is_checked():
    with pytest.raises(ValueError, match="'keep' or 'reset', got 'forget'"):
        BayesianMonaiAlgo("nowhere", FedAvg(), options={"optimizer": "forget"})
