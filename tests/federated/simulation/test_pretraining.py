"""Sites that start from weights that were trained alone."""

from __future__ import annotations

import json

import pytest
import torch

from mtmedformer_monai.federated.alignment.align import align
from mtmedformer_monai.federated.alignment.permutation import permute
from mtmedformer_monai.federated.client.own_weights import groups_of
from mtmedformer_monai.federated.simulation import pretraining
from mtmedformer_monai.federated.simulation.bundle_parts import read_bundle
from mtmedformer_monai.federated.simulation.cohort import count_images, prepare_data
from mtmedformer_monai.federated.simulation.pretraining import largest_site
from mtmedformer_monai.federated.simulation.rounds import Simulation
from mtmedformer_monai.io.atomic_files import load_checkpoint


def simulate(chosen, folder):
    simulation = Simulation(chosen, prepare_data(chosen), folder)
    simulation.run()
    return simulation


def weights_of(simulation) -> dict[str, dict[str, torch.Tensor]]:
    return {site: torch.load(each.path) for site, each in simulation._pretrained.items()}


def weights_in(simulation) -> list:
    return [each.path for each in simulation._pretrained.values()]


def assert_equal(one, other):
    assert set(one) == set(other)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_site_with_most_images_is_the_largest(tmp_path):
    paths = {}
    for site, count in (("a", 2), ("b", 5), ("c", 5)):
        paths[site] = tmp_path / f"{site}.json"
        items = [{"image": f"{index}.png"} for index in range(count)]
        paths[site].write_text(json.dumps({"training": items, "validation": items * 9, "test": []}))
    assert [count_images(path) for path in paths.values()] == [2, 5, 5]
    assert largest_site(paths) == "b"


def test_all_sites_start_from_the_largest_sites_weights(settings, here, tmp_path, monkeypatch):
    """Without exchange, the server's weights stay those from which the sites start."""
    chosen = settings(num_rounds=1, strategy="local", start="largest", pretrain_epochs=1, partition="iid")
    common = Simulation(settings(strategy="local", partition="iid"), prepare_data(chosen), tmp_path / "common")
    with common._processes() as submit:
        common._measure_losses(submit)
    simulation = simulate(chosen, tmp_path / "largest")
    pretrained = weights_of(simulation)
    assert_equal(torch.load(tmp_path / "largest/model.pt"), pretrained[largest_site(simulation._datalists)])
    one, other = pretrained.values()
    assert any(not torch.equal(value, other[name]) for name, value in one.items())

    scales = [
        {name: value for name, value in each._aggregator.broadcast().weights.items() if name.startswith("setting/")}
        for each in (common, simulation)
    ]
    assert scales[0]
    assert_equal(*scales)  # the tasks' losses are scaled as from common weights

    def others(**changes):
        again = settings(num_rounds=1, start="largest", partition="iid", **changes)
        return weights_in(Simulation(again, prepare_data(again), tmp_path / "again"))

    assert others(strategy="fedavg", pretrain_epochs=1) == weights_in(simulation)  # methods share the files
    assert not set(others(pretrain_epochs=2)) & set(weights_in(simulation))
    monkeypatch.setattr(pretraining, "make_client", lambda _: pytest.fail("trained alone again"))
    for spec in simulation._specs:
        pretraining.pretrain(spec, simulation._pretrained[spec.name], simulation._broadcast)


def test_own_weights_are_aligned_with_the_largest_sites(settings, here, tmp_path):
    """With a learning rate of 0 in the federation, a site sends its own weights in the order of the largest site's."""
    chosen = settings(num_rounds=1, strategy="fedavg", start="own", pretrain_epochs=1, partition="iid")
    simulation = Simulation(chosen, prepare_data(chosen), tmp_path / "own")
    for each in simulation._specs:
        each.overrides["learning_rate"] = 0.0
    simulation.run()
    pretrained, network = weights_of(simulation), read_bundle(chosen.bundle, simulation._overrides({}))
    groups = groups_of(network.get_parsed_content("network_def"))
    reference = pretrained[largest_site(simulation._datalists)]
    for site, own in pretrained.items():
        message = load_checkpoint(tmp_path / "own" / site / "message.pt")["weights"]
        expected = permute(own, groups, align(reference, own, groups))
        sent = {name.removeprefix("precision_mean/"): value for name, value in message.items() if "_mean/" in name}
        assert len(sent) > 50
        for name, value in sent.items():
            torch.testing.assert_close(value / message[f"precision/{name}"], expected[name].float(), msg=name)
