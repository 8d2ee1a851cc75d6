"""The client of MONAI FL runs the bundles without changes: server weights count, validation uses its own list."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest
import torch
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import FlStatistics
from monai.fl.utils.exchange_object import ExchangeObject

from mtmedformer_monai.data import load_datalist
from mtmedformer_monai.io.atomic_files import load_checkpoint
from tests.bundles.conftest import one_bundle


@pytest.fixture
def stock_client(bundle, cohort, tracking_uri, tmp_path, monkeypatch):
    """A plain `MonaiAlgo` beside the outputs of `run_bundle`; only paths and sizes are given, and no step is taken."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    output = tmp_path / "output"
    places = {"dataset_dir": str(cohort), "output_dir": f"$'{output}'", "ckpt_dir": str(output / "models")}
    kwargs = {**places, "image_size": [64, 64], "batch_size": 8, "learning_rate": 0.0}
    client = MonaiAlgo(str(bundle), send_weight_diff=False, train_kwargs=dict(kwargs), eval_kwargs=dict(kwargs))
    client.initialize({})
    return client


def broadcast_of(client):
    """Weights that no checkpoint holds."""
    return {name: value + 0.5 for name, value in client.trainer.network.state_dict().items()}


@one_bundle
def test_the_broadcast_counts_and_not_an_old_checkpoint(bundle, run_bundle, stock_client, tmp_path):
    output = run_bundle("training", ["train"], bundle, max_epochs=2, warmup_epochs=1)
    before = (output / "checkpoint.pt").read_bytes()
    sent = broadcast_of(stock_client)
    for _ in range(2):
        stock_client.train(ExchangeObject(weights={name: value.clone() for name, value in sent.items()}))
        returned = stock_client.get_weights()
        assert returned.statistics[FlStatistics.NUM_EXECUTED_ITERATIONS] == len(stock_client.trainer.data_loader)
        for name, value in sent.items():
            torch.testing.assert_close(returned.weights[name], value, rtol=0, atol=0, msg=name)
    assert (output / "checkpoint.pt").read_bytes() == before
    resumed = run_bundle("training", ["train"], bundle, max_epochs=3, warmup_epochs=1)
    assert load_checkpoint(resumed / "checkpoint.pt")["epoch"] == 3
    epochs = [row["epoch"] for row in json.loads((resumed / "history.json").read_text())]
    assert epochs[-1] == 3


@one_bundle
def test_a_stock_client_leaves_nothing_to_resume_from(stock_client, tmp_path):
    stock_client.train(ExchangeObject(weights=broadcast_of(stock_client)))
    assert (tmp_path / "output/models/model.pt").is_file()
    assert not (tmp_path / "output/checkpoint.pt").exists()


def test_each_round_is_evaluated_on_the_validation_list(stock_client, cohort, tmp_path):
    used = [item["image"] for item in stock_client.evaluator.data_loader.dataset.data]
    assert used == [item["image"] for item in load_datalist(cohort / "datalist.json", "validation")]
    assert used != [item["image"] for item in load_datalist(cohort / "datalist.json", "test")]
    found = stock_client.evaluate(ExchangeObject(weights=broadcast_of(stock_client)))
    assert found.metrics["mean_score"] >= 0.0
    assert not (tmp_path / "output/evaluation").exists()


@pytest.mark.parametrize(("gone", "succeeds"), [("validation", True), ("test", False)])
def test_the_evaluating_command_reads_the_test_list(bundle, run_bundle, cohort, gone, succeeds):
    """One list is not there, as with a test set from elsewhere: whether the command needs it tells which it reads."""
    items = json.loads((cohort / "datalist.json").read_text())
    del items[gone]
    path = cohort / f"datalist_without_{gone}.json"
    path.write_text(json.dumps(items))
    with nullcontext() if succeeds else pytest.raises(RuntimeError, match="load_datalist"):
        output = run_bundle(
            "evaluating",
            ["train", "evaluate"],
            bundle,
            ckpt_path=str(bundle / "models/model.pt"),
            datalist=str(path),
            on_weights_mismatch="warn",  # the tests' images are smaller
        )
        assert (output / "evaluation/metrics.json").is_file()
