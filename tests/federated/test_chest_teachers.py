"""Strategies that teach missing labels, at clients of the chest bundle."""

from __future__ import annotations

import pytest
import torch
from monai.fl.utils.constants import ExtraItems

from mtmedformer_monai.data.datalist import read_datalist, save_datalist
from mtmedformer_monai.data.synthetic.cohorts import make_cohort
from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.client.bayesian_monai_algo import BayesianMonaiAlgo
from mtmedformer_monai.federated.exchange import IMAGES_BY_TASK
from mtmedformer_monai.federated.strategies import make_strategy
from tests.bundles.conftest import ROOT
from tests.federated.rounds import assert_equal, run_rounds, weights_of

CHEST = ROOT / "bundles/chest_xray_multitask"


@pytest.fixture(scope="module")
def chest_data(tmp_path_factory):
    """Data of two sites: one has all annotations (pneumonia only), one only boxes."""
    path = make_cohort("chest", tmp_path_factory.mktemp("chest"), 10, image_size=64, seed=3)
    datalist = read_datalist(path)
    whole = datalist | {"training": [item for item in datalist["training"] if "pneumonia_type" in item["labels"]]}
    assert whole["training"]
    save_datalist(whole, path.parent / "site_all.json")
    boxes = [{key: v for key, v in item.items() if key not in {"masks", "labels"}} for item in datalist["training"]]
    save_datalist(datalist | {"training": boxes}, path.parent / "site_boxes.json")
    return path.parent


@pytest.fixture
def chest(chest_data, tmp_path):
    """Builds a client of the chest bundle."""

    def make(name, strategy, folder="", **settings):
        output = str(tmp_path / folder / name)
        over = {
            "dataset_dir": str(chest_data),
            "datalist": str(chest_data / f"{name}.json"),
            "output_dir": output,
            "ckpt_dir": output,
            "image_size": [32, 32],
            "batch_size": 4,
            "rounds": 3,
            "train#handlers_with_state": ["@train#history"],
        }
        site = BayesianMonaiAlgo(str(CHEST), strategy, train_kwargs=over, settings=settings)
        site.initialize({ExtraItems.CLIENT_NAME: name})
        return site

    return make


EAGER = {"min_probability": 0.5, "agreement": 0.0}
PHASE = {"distillation_rounds": 1, "num_rounds": 1}


def federation(chest, strategy, names, rounds, folder="", **settings):
    sites = {name: chest(name, strategy, folder, **settings) for name in names}
    server = Aggregator(make_strategy(strategy, **settings), weights_of(next(iter(sites.values()))))
    for name, site in sites.items():
        server.add_initial_losses(site.measure_losses(server.broadcast()), name)
    run_rounds(server, sites.values(), rounds)
    return server, sites


@pytest.mark.parametrize(
    ("strategy", "settings"), [("fedmix", {"quality": 0.0, **EAGER}), ("condistfl", {})], ids=["fedmix", "condistfl"]
)
def test_a_site_that_lacks_nothing_trains_bit_for_bit_as_with_fedavg(chest, strategy, settings):
    plain, _ = federation(chest, "fedavg", ["site_all"], 2, "plain")
    taught, _ = federation(chest, strategy, ["site_all"], 2, "taught", **settings)
    assert_equal(taught.weights(), plain.weights())


@pytest.mark.parametrize(
    ("strategy", "settings"),
    [
        ("fedmix", EAGER),
        ("condistfl", {}),
        ("bayesian", PHASE),
        ("bayesian", PHASE | {"taught_by": "labels", "draw_temperature": 0.0, "min_probability": 0.5}),
    ],
    ids=["fedmix", "condistfl", "taught by outputs", "taught by labels"],
)
def test_a_site_without_masks_trains_their_decoder_from_the_second_round(chest, strategy, settings, tmp_path):
    server, sites = federation(chest, strategy, ["site_all", "site_boxes"], 1, **settings)
    site = sites["site_boxes"]
    assert not any("decoders.lung" in name for name in site.get_weights().weights)
    site.save(tmp_path / "memory")
    site.train(server.broadcast())
    sent = {name: value.clone() for name, value in site.get_weights().weights.items()}
    assert any(name.startswith("precision_mean/decoders.lung") for name in sent)
    assert all(bool(torch.isfinite(value).all()) for value in sent.values())
    assert site.get_data_stats().statistics[IMAGES_BY_TASK]["lung"] == 0  # own labels

    again = chest("site_boxes", strategy, "again", **settings)
    again.restore(tmp_path / "memory")
    again.train(server.broadcast())
    assert_equal(dict(again.get_weights().weights), sent)
