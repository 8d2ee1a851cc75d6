"""Split-learning baselines on the same sites."""

from __future__ import annotations

import json

import pytest
import torch

from mtmedformer_monai.federated.simulation.cohort import prepare_data
from mtmedformer_monai.federated.simulation.split_rounds import SplitSimulation, scaled_loss, with_pretraining_rounds
from mtmedformer_monai.tasks import ClassificationTask


def simulation(chosen, folder, name="festa"):
    return SplitSimulation(name, chosen, prepare_data(chosen), folder)


def test_a_system_trains_and_resumes_exactly_after_a_kill(settings, tmp_path, monkeypatch):
    chosen = settings(partition="iid")
    whole = simulation(chosen, tmp_path / "whole").run()
    assert set(whole) == {"global", "site_1", "site_2"}
    written = json.loads((tmp_path / "whole/rounds.json").read_text())
    assert [row["round"] for row in written] == [1, 2]
    assert written[0]["bytes_sent"] > 0
    assert written[0]["global"] != written[1]["global"]

    stopped = simulation(chosen, tmp_path / "stopped")
    real = stopped._system.round

    def killed(sites):
        if stopped._system._number == 1:
            raise KeyboardInterrupt
        return real(sites)

    monkeypatch.setattr(stopped._system, "round", killed)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    assert json.dumps(simulation(chosen, tmp_path / "stopped").run()) == json.dumps(whole)
    with pytest.raises(ValueError, match="another value of seed; restore the settings"):
        simulation(settings(partition="iid", seed=5), tmp_path / "stopped").run()


def test_systems_on_plain_tokens_replace_the_encoder(settings, tmp_path):
    found = simulation(settings(num_rounds=1, partition="iid", overrides={}), tmp_path / "plain", "fesvibs").run()
    assert 0.0 <= found["global"]["lung_dice"] <= 1.0


def test_heads_are_trained_after_half_of_the_rounds(settings, tmp_path):
    chosen = settings(partition="iid", strategy_settings={"hidden": (8, 0.6)})  # the images have 32 pixels
    found = simulation(chosen, tmp_path / "out", "task_agnostic").run()
    assert set(found) == {"global", "site_1", "site_2"}
    written = json.loads((tmp_path / "out/rounds.json").read_text())
    assert written[0]["bytes_sent"] > 0
    assert written[1]["bytes_sent"] == 0  # the second round trains heads alone


@pytest.mark.parametrize(("num_rounds", "own"), [(1, {}), (5, {"pretraining_rounds": 5})], ids=["one", "all"])
def test_pretraining_in_all_rounds_is_refused_before_it_starts(num_rounds, own):
    with pytest.raises(ValueError, match=f"task_agnostic expects 2 rounds or more.*got {num_rounds} rounds"):
        with_pretraining_rounds("task_agnostic", own, num_rounds)


def test_scales_are_means_over_the_sites(tmp_path):
    from types import SimpleNamespace

    class Fixed(torch.nn.Module):
        def forward(self, image):
            return {"finding": image[:, 0, 0, :1]}

    task = ClassificationTask("finding", ["normal", "pneumonia"], "binary")
    absent = ClassificationTask("type", ["a", "b"], "binary")
    sites = [
        SimpleNamespace(batches=[{"image": torch.full((1, 1, 2, 2), logit), "finding": torch.tensor([1.0])}])
        for logit in (0.0, 2.0)
    ]
    assert scaled_loss(Fixed(), [task], sites).initial.tolist() == pytest.approx([(0.693147 + 0.126928) / 2])
    both = [{**batch, "type": torch.tensor([torch.nan])} for site in sites for batch in site.batches]

    class Both(torch.nn.Module):
        def forward(self, image):
            return {"finding": image[:, 0, 0, :1], "type": image[:, 0, 0, :1]}

    assert scaled_loss(Both(), [task, absent], [SimpleNamespace(batches=both)]).initial[1] == 1.0
