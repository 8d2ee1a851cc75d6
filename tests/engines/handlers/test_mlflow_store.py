from __future__ import annotations

import math

import pytest

from mtmedformer_monai.engines.handlers.mlflow_store import (
    ensure_experiment,
    log_metrics,
    parameter_texts,
    reopen_run,
    store_uri,
)


@pytest.fixture
def client(tmp_path):
    from mlflow.tracking import MlflowClient

    return MlflowClient(store_uri(tmp_path))


def test_the_default_store_is_a_file_of_the_folder(tmp_path):
    assert store_uri(tmp_path) == f"sqlite:///{tmp_path.resolve()}/mlflow.db"
    assert store_uri(tmp_path, "http://tracker:5000") == "http://tracker:5000"


def test_long_parameters_are_cut_to_the_length_that_mlflow_accepts():
    assert parameter_texts({"seed": 0, "long": "x" * 6001}) == {"seed": "0", "long": "x" * 6000}


def test_one_run_is_logged_and_reopened(client, tmp_path):
    experiment = ensure_experiment(client, "name", tmp_path / "mlruns")
    assert ensure_experiment(client, "name", tmp_path / "elsewhere") == experiment
    assert client.get_experiment(experiment).artifact_location == (tmp_path / "mlruns").as_uri()
    run_id = client.create_run(experiment).info.run_id
    log_metrics(client, run_id, {"dice": 0.5, "auc": math.nan, "loss": math.inf}, step=3)
    client.set_terminated(run_id)
    assert reopen_run(client, run_id).info.run_id == run_id
    run = client.get_run(run_id)
    assert run.info.status == "RUNNING"
    assert run.data.metrics == {"dice": 0.5}
    assert [each.step for each in client.get_metric_history(run_id, "dice")] == [3]
    assert reopen_run(client, None) is None
    assert reopen_run(client, "0" * 32) is None
