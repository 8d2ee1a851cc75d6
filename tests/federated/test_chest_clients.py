"""Clients with different tasks of the chest bundle."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from ignite.engine import Events
from monai.fl.utils.constants import ExtraItems

from mtmedformer_monai.data.datalist import read_datalist, save_datalist
from mtmedformer_monai.data.synthetic.cohorts import make_cohort
from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.alignment.permutation import permute, random_permutation
from mtmedformer_monai.federated.client.bayesian_monai_algo import BayesianMonaiAlgo
from mtmedformer_monai.federated.exchange import IMAGES_BY_TASK
from mtmedformer_monai.federated.message import TensorKind, pick
from mtmedformer_monai.federated.strategies.fedavg import FedAvg
from mtmedformer_monai.layers.group_declaration import permutation_groups
from tests.bundles.conftest import BUNDLES, ROOT
from tests.federated.rounds import assert_equal, run_rounds, weights_of

CHEST = ROOT / "bundles/chest_xray_multitask"


def test_all_bundles_federate_alike():
    overlays = [(bundle / "configs/federated.json").read_text() for bundle in BUNDLES]
    assert len(set(overlays)) == 1


@pytest.fixture(scope="module")
def chest_data(tmp_path_factory):
    """Data of two sites: one has all annotations, one only classes."""
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
    """Builds a client of the chest bundle."""

    def make(name, known_classes=None, size=32, **options):
        over = {
            "dataset_dir": str(chest_data),
            "datalist": str(chest_data / f"{name}.json"),
            "output_dir": str(tmp_path / name),
            "ckpt_dir": str(tmp_path / name),
            "image_size": [size, size],
            "batch_size": 4,
            "rounds": 2,
            "local_epochs": 1,
            "warmup_epochs": 1,
            "learning_rate": 0.001,
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
    for name, site in sites.items():
        server.add_initial_losses(site.measure_losses(server.broadcast()), name)
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
    still = {name for name in own if f"precision_mean/{name}" not in sent}
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


def test_sites_of_other_image_sizes_and_tasks_train_one_network(chest):
    sites = [chest("site_all"), chest("site_labels", size=64)]
    start = weights_of(sites[0])
    server = Aggregator(FedAvg(), start)
    run_rounds(server, sites, 1)
    found = server.weights()
    assert all(bool(torch.isfinite(value).all()) for value in found.values())
    trained = [name for name in start if name.startswith("encoder.") and not torch.equal(found[name], start[name])]
    assert len(trained) > 0.9 * sum(name.startswith("encoder.") for name in start)


def test_a_site_aligns_its_own_weights_to_the_broadcast(chest, tmp_path):
    """A copy of the broadcast network with permuted units is aligned to the broadcast network exactly."""
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
    assert_equal(started, pick(server.broadcast().weights, TensorKind.MEAN))
