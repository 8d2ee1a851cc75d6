"""A small federation: its rounds, its files, and exact resumption after a kill."""

from __future__ import annotations

import json
import logging
import shutil
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from mtmedformer_monai.federated import screened_round
from mtmedformer_monai.federated.exchange import read_exchange, round_of
from mtmedformer_monai.federated.simulation import rounds, worker
from mtmedformer_monai.federated.simulation.cohort import count_images, prepare_data
from mtmedformer_monai.federated.simulation.model_files import TEMPERATURES
from mtmedformer_monai.federated.simulation.rounds import Simulation
from mtmedformer_monai.federated.sites_file import Site
from mtmedformer_monai.io.atomic_files import load_checkpoint
from mtmedformer_monai.uncertainty.posterior_file import load_posterior


def run(chosen, folder):
    return Simulation(chosen, prepare_data(chosen), folder).run()


def test_a_federation_writes_what_it_measured_and_resumes_exactly_after_a_kill(settings, here, tmp_path, monkeypatch):
    first_learns_the_prior = {"num_rounds": 2, "distillation_rounds": 0}
    chosen = settings(posterior=True, strategy_settings=first_learns_the_prior)
    whole = run(chosen, tmp_path / "whole")
    assert set(whole) == {"global", "site_1", "site_2"}
    written = json.loads((tmp_path / "whole/rounds.json").read_text())
    assert [row["round"] for row in written] == [1, 2]
    assert all(set(row["sites"]) == {"site_1", "site_2"} for row in written)
    numbers = sum(value.numel() for value in torch.load(tmp_path / "whole/model.pt").values())
    assert written[0]["bytes_sent"] > 4 * numbers
    assert np.asarray(Image.open(tmp_path / "whole/rounds.png").convert("L")).std() > 5
    groups = sorted((tmp_path / "whole").glob("model_*.pt"))
    assert len(groups) == 2
    assert all(set(torch.load(path)) == set(torch.load(tmp_path / "whole/model.pt")) for path in groups)
    own = [torch.load(tmp_path / "whole" / site / "model.pt") for site in ("site_1", "site_2")]
    assert all(set(each) == set(torch.load(tmp_path / "whole/model.pt")) for each in own)
    posterior = load_posterior(tmp_path / "whole/posterior.pt")
    assert posterior.provenance.num_sites == posterior.provenance.num_rounds == 2
    assert posterior.temperature in TEMPERATURES
    assert set(torch.load(tmp_path / "whole/model.pt")) >= set(posterior.likelihood_precision)

    real = worker.train

    def killed(spec, broadcast):
        if round_of(read_exchange(broadcast)) == 1 and spec.name == "site_2":
            raise KeyboardInterrupt  # the other site has trained this round already
        return real(spec, broadcast)

    monkeypatch.setattr(rounds.worker, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        run(chosen, tmp_path / "stopped")
    monkeypatch.setattr(rounds.worker, "train", real)
    resumed = run(chosen, tmp_path / "stopped")
    assert json.dumps(resumed) == json.dumps(whole)  # as text, because NaN does not equal itself
    ours, theirs = (load_checkpoint(tmp_path / name / "broadcast.pt")["weights"] for name in ("stopped", "whole"))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_groups_that_part_end_with_two_more_rounds_which_resume_and_leave_the_sites_networks_alone(
    settings, here, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, logger="mtmedformer")
    chosen, real = settings(num_rounds=1, strategy_settings={"num_rounds": 1, "between": 1.0}), worker.train

    def killed(spec, broadcast):
        if round_of(read_exchange(broadcast)) == 1 and spec.name == "site_2":
            raise KeyboardInterrupt
        return real(spec, broadcast)

    run(chosen, tmp_path / "whole")
    assert "round 3/3" in caplog.text
    monkeypatch.setattr(rounds.worker, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        run(chosen, tmp_path / "stopped")
    for site in ("site_1", "site_2"):  # their networks after the first round
        assert_equal_files(tmp_path / "whole" / site / "model.pt", tmp_path / "stopped" / site / "model.pt")
    monkeypatch.setattr(rounds.worker, "train", real)
    run(chosen, tmp_path / "stopped")
    one = "model.pt"
    for name in (one, "site_1/model.pt", "site_2/model.pt", "model_opacity_box.pt"):
        assert_equal_files(tmp_path / "whole" / name, tmp_path / "stopped" / name)
    written = json.loads((tmp_path / "whole/rounds.json").read_text())
    assert [row["round"] for row in written] == [1, 2, 3]
    assert written[2]["sites"] == written[1]["sites"] == written[0]["sites"]  # the networks of the round before
    trained, start = (
        torch.load(tmp_path / "whole" / one),
        torch.load(tmp_path / "whole/model_finding+lung+opacity+pneumonia_type.pt"),
    )
    moved = {name.split(".")[0] for name, value in trained.items() if not torch.equal(value, start[name])}
    assert "encoder" in moved


def assert_equal_files(one, other):
    theirs = torch.load(other)
    assert all(torch.equal(value, theirs[name]) for name, value in torch.load(one).items()), one.name


@pytest.mark.parametrize(
    ("strategy_settings", "logged"),
    [
        (
            {"most_images": 5},
            "the message of site_2 is refused: ValueError: client 'site_2' weighs as much as 6 images",
        ),
        ({"robust": "screened"}, "the message of site_2 is left out: its step is odd"),
    ],
    ids=["refused", "left out"],
)
def test_a_federation_continues_without_a_message(
    settings, here, tmp_path, monkeypatch, caplog, strategy_settings, logged
):
    """The site infers as one from which no message was accepted: without a factor of its own."""
    monkeypatch.setattr(screened_round, "outliers", lambda *_: {"site_2": "its step is odd"})
    found = run(settings(strategy_settings=strategy_settings), tmp_path / "out")
    assert set(found) == {"global", "site_1", "site_2"}
    assert all(f"Round {number}: {logged}" in caplog.text for number in (1, 2))
    for site in ("site_1", "site_2"):
        sent = load_checkpoint(tmp_path / "out" / site / "broadcast.pt")["weights"]
        own = torch.load(tmp_path / "out" / site / "model.pt")
        is_broadcast = all(torch.equal(value, sent[f"mean/{name}"]) for name, value in own.items())
        assert is_broadcast == (site == "site_2")


def test_a_federation_whose_messages_are_all_refused_stops(settings, here, tmp_path):
    with pytest.raises(RuntimeError, match=r"round 1: .* all sites are refused; .* site_1: ValueError"):
        run(settings(strategy_settings={"most_images": 2}), tmp_path / "out")


def test_a_finished_federation_is_only_measured_again(settings, here, tmp_path, monkeypatch):
    chosen = settings(num_rounds=1, strategy="fedavg")
    with monkeypatch.context() as killed:
        killed.setattr(rounds.worker, "evaluate_site", Mock(side_effect=KeyboardInterrupt))  # after its last round
        with pytest.raises(KeyboardInterrupt):
            run(chosen, tmp_path / "done")
    monkeypatch.setattr(rounds.worker, "train", lambda *_: pytest.fail("trained again"))
    first = run(chosen, tmp_path / "done")
    (row,) = json.loads((tmp_path / "done/rounds.json").read_text())
    assert row["round"] == 1
    assert row["bytes_sent"] > 0
    assert json.dumps(run(chosen, tmp_path / "done")) == json.dumps(first)
    for changed in ({"seed": 5}, {"num_rounds": 2}, {"strategy": "fedprox"}):
        with pytest.raises(ValueError, match=f"another value of {next(iter(changed))}; restore the settings"):
            run(settings(**{"num_rounds": 1, "strategy": "fedavg", **changed}), tmp_path / "done")


def test_sites_in_processes_of_their_own(settings, tmp_path):
    chosen = settings(num_rounds=1, strategy="fedavg", num_processes=1)
    found = run(chosen, tmp_path / "processes")
    assert 0.0 <= found["global"]["lung_dice"] <= 1.0
    shutil.rmtree(tmp_path / "processes")


def test_sites_with_data_and_overrides_of_their_own(settings, tmp_path):
    chosen = settings(num_sites=2)
    parts = prepare_data(chosen).sites
    sites = (
        Site("hospital_a", datalist=str(parts["site_1"]), overrides={"batch_size": 4}),
        Site("hospital_b", datalist=str(parts["site_2"]), options={"optimizer": "reset"}),
    )
    listed = settings(sites=sites)
    data = prepare_data(listed)
    assert list(data.sites) == ["hospital_a", "hospital_b"]
    counts = [count_images(data.sites[name]) for name in data.sites]
    assert counts == [count_images(path) for path in parts.values()]
    assert count_images(data.pooled) == count_images(data.everything) == sum(counts)
    specs = Simulation(listed, data, tmp_path / "sites")._specs
    assert [spec.overrides.get("batch_size") for spec in specs] == [4, None]
    assert [spec.options.get("optimizer") for spec in specs] == [None, "reset"]
    with pytest.raises(ValueError, match="site 'c' expects a datalist or a dataset_dir"):
        prepare_data(settings(sites=(Site("c"),)))
