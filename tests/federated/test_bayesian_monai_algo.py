from __future__ import annotations

import copy
import json

import pytest
import torch
from ignite.engine import Events
from monai.fl.utils.constants import ExtraItems, FlStatistics, ModelType, WeightType
from monai.fl.utils.exchange_object import ExchangeObject

from mtmedformer_monai.data.cohorts import make_cohort
from mtmedformer_monai.data.datalist import read_datalist, save_datalist
from mtmedformer_monai.declaration import permutation_groups
from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.bayesian_monai_algo import BayesianMonaiAlgo
from mtmedformer_monai.federated.exchange import IMAGES_BY_TASK, ROUND
from mtmedformer_monai.federated.permutation import permute, random_permutation
from mtmedformer_monai.federated.strategies import STRATEGIES, make_strategy, norm_parameters
from mtmedformer_monai.federated.strategies.fedavg import AveragingSite, FedAvg
from mtmedformer_monai.federated.strategy import Kind, pick
from tests.bundles.conftest import BUNDLES, ROOT
from tests.federated.little_bundle import write_bundle

CHEST = ROOT / "bundles/chest_xray_multitask"


@pytest.fixture
def stock(tmp_path):
    """Builds a site of the stock bundle."""
    root = write_bundle(tmp_path / "bundle")

    def make(strategy=None, name="site_1", **others):
        site = BayesianMonaiAlgo(root, strategy or FedAvg(), **others)
        site.initialize({ExtraItems.CLIENT_NAME: name})
        return site

    return make


class PullingSite(AveragingSite):
    """Pulls to the broadcast, asks for evidence, and remembers how often it trained."""

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


class Pulling(FedAvg):
    def site(self, groups=None):
        return PullingSite()


def run_rounds(server, sites, count):
    for _ in range(count):
        for index, site in enumerate(sites):
            site.train(server.broadcast())
            server.add(site.get_weights(), str(index))
        server.close_round()


def weights_of(site):
    return {name: value.clone() for name, value in site.trainer.network.state_dict().items()}


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=0, msg=name)


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


def test_rounds_go_on_with_epochs_and_schedule(stock):
    site = stock(local_epochs=2)
    run_rounds(Aggregator(FedAvg(), weights_of(site)), [site], 2)
    assert (site.trainer.state.epoch, site.trainer.state.iteration) == (4, 8)
    assert site.trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * 0.5**4)


@pytest.mark.parametrize(("optimizer", "steps"), [("keep", 4), ("reset", 2)])
def test_the_optimizer_is_kept_or_reset(stock, optimizer, steps):
    site = stock(options={"optimizer": optimizer})
    run_rounds(Aggregator(FedAvg(), weights_of(site)), [site], 2)
    assert {int(state["step"]) for state in site.trainer.optimizer.state.values()} == {steps}


def test_a_killed_site_goes_on_bit_for_bit(stock, tmp_path):
    site = stock(Pulling())
    start = weights_of(site)
    server = Aggregator(Pulling(), start)
    run_rounds(server, [site], 2)
    site.save(tmp_path / "memory")
    server.save(tmp_path / "server.pt")
    run_rounds(server, [site], 1)

    torch.manual_seed(99)
    again = stock(Pulling())
    again.restore(tmp_path / "memory")
    server_again = Aggregator(Pulling(), start)
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


def test_a_network_of_another_make_is_told(stock):
    site = stock()
    with pytest.raises(KeyError, match="has no \\['other'\\]"):
        site.train(Aggregator(FedAvg(), {"other": torch.zeros(1)}).broadcast())
    with pytest.raises(TypeError, match="ExchangeObject"):
        site.train({"weights": {}})
    with pytest.raises(ValueError, match="expects weights, got none"):
        site.train(ExchangeObject())


@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - {"matching"}))
def test_every_strategy_trains_a_stock_bundle(stock, name):
    sites = [stock(name), stock(name, train_kwargs={"seed": 1}, options={"personal": True, "own_share": 1.0})]
    start = weights_of(sites[0])
    server = Aggregator(make_strategy(name), start)
    run_rounds(server, sites, 2)
    assert all(bool(torch.isfinite(value).all()) for value in server.weights().values())
    moved = [key for key, value in server.weights().items() if not torch.equal(value, start[key])]
    assert bool(moved) == (name != "local")
    personal = sites[1].evaluate(server.broadcast()).metrics
    assert 0.0 <= float(personal["val_dice"]) <= 1.0


def test_matching_wants_a_network_that_declares_its_groups(stock):
    with pytest.raises(ValueError, match="declares its permutation groups"):
        stock("matching")


def test_personal_weights_are_those_of_the_site(stock):
    settings = {"norms": ["*.adn.N.*"]}
    site = stock("fedbn", settings=settings, options={"personal": True})
    server = Aggregator(make_strategy("fedbn", **settings), weights_of(site))
    run_rounds(server, [site], 1)
    trained, broadcast = weights_of(site), server.weights()
    inferred = site.inference_weights(server.broadcast().weights)
    norms = norm_parameters(site.trainer.network)
    assert norms
    for name in norms:
        torch.testing.assert_close(inferred[name], trained[name])
    assert any(not torch.equal(inferred[name], broadcast[name]) for name in norms)


def test_a_site_withdraws_its_evidence(stock):
    """With both sites' factors taken out the prior is left."""
    sites = [stock("bayesian"), stock("bayesian", train_kwargs={"seed": 1})]
    start = weights_of(sites[0])
    server = Aggregator(make_strategy("bayesian"), start)
    run_rounds(server, sites, 2)
    for index, site in enumerate(sites):
        server.add(site.withdraw(), str(index))
    server.close_round()
    for name, _ in sites[0].trainer.network.named_parameters():
        torch.testing.assert_close(server.weights()[name], start[name], rtol=1e-4, atol=1e-4)


def test_a_checkpoint_is_given_as_by_monai(stock, tmp_path):
    site = stock()
    with pytest.raises(ValueError, match="No best model checkpoint"):
        site.get_weights({ExtraItems.MODEL_TYPE: ModelType.BEST_MODEL})


def test_the_choice_of_the_optimizer_is_checked():
    with pytest.raises(ValueError, match="'keep' or 'reset', got 'forget'"):
        BayesianMonaiAlgo("nowhere", FedAvg(), options={"optimizer": "forget"})


def test_all_bundles_federate_alike():
    overlays = [(bundle / "configs/federated.json").read_text() for bundle in BUNDLES]
    assert len(set(overlays)) == 1


@pytest.fixture(scope="module")
def chest_data(tmp_path_factory):
    """Two sites: one has all annotations, one the classes alone."""
    path = make_cohort("chest", tmp_path_factory.mktemp("chest"), 12, image_size=64, seed=3)
    datalist = read_datalist(path)
    save_datalist(datalist, path.parent / "site_all.json")
    for section in ("training", "validation"):
        datalist[section] = [
            {k: v for k, v in item.items() if k not in {"masks", "boxes"}} for item in datalist[section]
        ]
    save_datalist(datalist, path.parent / "site_labels.json")
    return path.parent


@pytest.fixture
def chest(chest_data, tmp_path):
    """Builds a site of the chest bundle."""

    def make(name, known_classes=None, **options):
        over = {
            "dataset_dir": str(chest_data),
            "datalist": str(chest_data / f"{name}.json"),
            "output_dir": f"$'{tmp_path / name}'",
            "ckpt_dir": str(tmp_path / name),
            "image_size": [32, 32],
            "batch_size": 4,
            "rounds": 2,
            "known_classes": known_classes or {},
            "train#handlers_with_state": ["@train#history"],
        }
        site = BayesianMonaiAlgo(str(CHEST), FedAvg(), train_kwargs=over, options=options)
        site.initialize({ExtraItems.CLIENT_NAME: name})
        return site

    return make


def test_sites_of_different_tasks_train_one_chest_network(chest, tmp_path):
    sites = {name: chest(name) for name in ("site_all", "site_labels")}
    start = weights_of(sites["site_all"])
    server = Aggregator(FedAvg(), start)
    for site in sites.values():
        server.add_initial_losses(site.measure_losses(server.broadcast()))
    assert_equal(weights_of(sites["site_all"]), start)
    before = sites["site_all"].evaluate(server.broadcast()).metrics
    run_rounds(server, sites.values(), 2)
    after = sites["site_all"].evaluate(server.broadcast()).metrics
    assert after["loss"] < before["loss"]

    initial = [site.trainer.loss_function.initial for site in sites.values()]
    assert torch.equal(*initial)
    assert not torch.isnan(initial[0]).any()
    history = json.loads((tmp_path / "site_all/history.json").read_text())
    assert [row["epoch"] for row in history] == [1, 2]
    assert history[0]["validation"]["mean_score"] == before["mean_score"]
    assert history[1]["train"]["learning_rate"] < history[0]["train"]["learning_rate"]


def test_decoders_without_labels_come_out_as_they_were_broadcast(chest):
    site = chest("site_labels")
    server = Aggregator(FedAvg(), weights_of(site))
    site.train(server.broadcast())
    counts = site.get_data_stats().statistics[IMAGES_BY_TASK]
    assert counts["lung"] == counts["opacity_box"] == 0 < counts["finding"]
    sent, broadcast = site.get_weights().weights, server.weights()
    own = weights_of(site)
    still = {name for name in own if f"shift/{name}" not in sent}
    for name in own:
        if name.startswith(("decoders.lung", "decoders.opacity", "pyramids.shared.smooths.0.")):
            assert name in still
        if name.startswith(("decoders.finding", "encoder.")):
            assert name not in still
    assert all(torch.equal(own[name], broadcast[name]) for name in still)
    assert sum(torch.equal(own[name], broadcast[name]) for name in own) < 1.1 * len(still)


def test_a_site_that_knows_one_of_two_classes_learns_nothing_of_them(chest):
    site = chest("site_all", known_classes={"finding": ["normal"]})
    counts = site.get_data_stats().statistics[IMAGES_BY_TASK]
    assert counts["finding"] == 0 < counts["pneumonia_type"]


def test_a_site_aligns_its_own_weights_to_the_broadcast(chest, tmp_path):
    """A copy of the broadcast network with its units shuffled is the broadcast network again."""
    plain = chest("site_labels")
    server = Aggregator(FedAvg(), weights_of(plain))
    groups = permutation_groups(plain.trainer.network)
    order = random_permutation(groups, torch.Generator().manual_seed(0))
    torch.save(permute(weights_of(plain), groups, order), tmp_path / "own.pt")
    own = chest("site_labels", start_weights=str(tmp_path / "own.pt"))
    own.trainer.network.train(False)
    started = {}

    own.trainer.add_event_handler(Events.STARTED, lambda: started.update(copy.deepcopy(weights_of(own))))
    own.train(server.broadcast())
    assert_equal(started, pick(server.broadcast().weights, Kind.MEAN))


@pytest.mark.parametrize("name", ["fedavg", "scaffold", "bayesian"])
def test_a_training_that_diverged_is_withheld_whatever_the_strategy(stock, name, caplog):
    site = stock(make_strategy(name))
    server = Aggregator(make_strategy(name), site.trainer.network.state_dict())
    run_rounds(server, [site], 1)
    before, memory = server.weights(), copy.deepcopy(site.rule.state_dict())
    weight = next(site.trainer.network.parameters()).data
    spoil = site.trainer.add_event_handler(Events.COMPLETED, lambda: weight.fill_(torch.nan))
    run_rounds(server, [site], 1)
    assert all(torch.equal(value, before[key]) for key, value in server.weights().items())
    torch.testing.assert_close(site.rule.state_dict(), memory, rtol=0, atol=0)
    assert "withheld" in caplog.text
    spoil.remove()
    run_rounds(server, [site], 1)
    assert all(bool(torch.isfinite(value).all()) for value in server.weights().values())
    assert any(not torch.equal(value, before[key]) for key, value in server.weights().items())
