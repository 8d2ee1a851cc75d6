"""Files of the final networks: one for all sites, and one per group of sites."""

import logging

import pytest
import torch

from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.exchange import to_exchange
from mtmedformer_monai.federated.pvi import PVI
from mtmedformer_monai.federated.simulation.model_files import group_file, write_models
from mtmedformer_monai.federated.strategies import Distilled
from tests.federated.strategies.exact_clients import fixed

START = {"w": torch.zeros(1)}
MASKS, BOXES = fixed({"w": 1.0}, 10, images_by_task={"masks": 10}), fixed({"w": 3.0}, 30, images_by_task={"boxes": 30})


def train(strategy, sites, num_rounds=1):
    aggregator, rules = Aggregator(strategy, START), [strategy.client() for _ in sites]
    for _ in range(num_rounds):
        broadcast = aggregator.broadcast().weights
        for number, (rule, site) in enumerate(zip(rules, sites, strict=True)):
            aggregator.add(to_exchange(rule.send(site(rule, rule.receive(broadcast))), {}), f"site_{number}")
        aggregator.close_round()
    return aggregator


def written(aggregator, folder):
    paths = write_models(aggregator.broadcast().weights, aggregator.group_weights(), folder)
    return {path.name: torch.load(path, weights_only=True)["w"].item() for path in paths}


def test_groups_that_parted_have_their_own_networks_and_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "mtmedformer"):
        found = written(train(PVI(between=1.0, prior_precision=1e-9), [MASKS, BOXES]), tmp_path)
    assert found == {
        "model.pt": pytest.approx(2.5),
        "model_boxes.pt": pytest.approx(3),
        "model_masks.pt": pytest.approx(1),
    }
    (record,) = caplog.records
    assert "model_boxes.pt, model_masks.pt" in record.getMessage()
    assert "distillation_rounds=2" in record.getMessage()


@pytest.mark.parametrize(
    ("sites", "names"),
    [([MASKS, BOXES], ["model.pt", "model_boxes.pt", "model_masks.pt"]), ([MASKS, MASKS], ["model.pt"])],
    ids=["two groups that agree", "one group"],
)
def test_networks_that_agree_need_no_warning(tmp_path, caplog, sites, names):
    with caplog.at_level(logging.WARNING, "mtmedformer"):
        found = written(train(PVI(between=0.0), sites), tmp_path)
    assert sorted(found) == names
    assert len(set(found.values())) == 1
    assert not caplog.records


def test_a_taught_network_stands_beside_its_teachers(tmp_path, caplog):
    aggregator = train(Distilled(PVI(between=1.0, prior_precision=1e-9), 1, 1), [MASKS, BOXES], 2)
    with caplog.at_level(logging.WARNING, "mtmedformer"):
        found = written(aggregator, tmp_path)
    assert found == {"model.pt": 2.5, "model_boxes.pt": pytest.approx(3), "model_masks.pt": pytest.approx(1)}
    assert not caplog.records


def test_no_name_of_a_group_is_too_long_for_a_file(tmp_path):
    names = [group_file("posterior", f"{'lésion' * 60}+{last}") for last in "ab"]
    for name in names:
        (tmp_path / name).touch()
    assert len({*names}) == 2
