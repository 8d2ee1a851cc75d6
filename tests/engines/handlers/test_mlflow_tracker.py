"""One store for all tests, because creating an SQLite store takes MLflow several seconds."""

import hashlib

import pytest
from mlflow import MlflowClient

from mtmedformer_monai import __version__
from mtmedformer_monai.engines import MLflowTracker
from mtmedformer_monai.io.sqlite_uri import sqlite_uri
from tests.engines.tiny_training import build_training


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("tracked")


def client(store) -> MlflowClient:
    return MlflowClient(f"sqlite:///{store / 'mlflow.db'}")


def runs(store, experiment: str):
    found = client(store).get_experiment_by_name(experiment)
    return client(store).search_runs(found.experiment_id)


def train(store, experiment: str, max_epochs: int = 1, before=None, **options):
    training = build_training(max_epochs)
    tracker = MLflowTracker(str(store), experiment_name=experiment, evaluator=training.evaluator, **options)
    if before is not None:
        before(training, tracker)
    training.attach(tracker).run()
    return training, tracker


def test_metrics_of_both_engines_and_artifacts(store, tmp_path):
    (tmp_path / "curves.png").write_bytes(b"picture")
    training, _ = train(
        store, "metrics", 2, artifacts=[str(tmp_path)], parameters={"seed": 3}, iteration_interval=1, run_name="one"
    )
    (run,) = runs(store, "metrics")
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "one"
    assert run.data.params["seed"] == "3"
    assert run.data.metrics["validation/mean_score"] == pytest.approx(training.evaluator.state.metrics["mean_score"])
    assert run.data.metrics["train/loss_lung"] == pytest.approx(training.trainer.state.metrics["loss_lung"])
    history = client(store).get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in history] == [1, 2]
    assert len(client(store).get_metric_history(run.info.run_id, "Loss")) == 4
    assert [artifact.path for artifact in client(store).list_artifacts(run.info.run_id)] == ["curves.png"]


def test_each_training_has_a_run_of_its_own(store):
    def break_it(training, tracker):
        training.trainer.loss_function = None

    with pytest.raises(TypeError):
        train(store, "own", before=break_it)
    train(store, "own")
    assert sorted(run.info.status for run in runs(store, "own")) == ["FAILED", "FINISHED"]


def test_a_named_run_that_is_unfinished_is_not_continued(store):
    """Two trainings of one name at the same time, or after a kill."""
    train(store, "named", parameters={"batch_size": 8}, run_name="one")
    (killed,) = runs(store, "named")
    client(store).update_run(killed.info.run_id, status="RUNNING")
    train(store, "named", parameters={"batch_size": 4}, run_name="one")
    assert sorted(run.data.params["batch_size"] for run in runs(store, "named")) == ["4", "8"]


def test_a_resumed_training_continues_its_run(store):
    _, first = train(store, "resumed", parameters={"epochs": 1})
    train(
        store,
        "resumed",
        before=lambda _, tracker: tracker.load_state_dict(first.state_dict()),
        parameters={"epochs": 2},
    )
    (run,) = runs(store, "resumed")
    assert run.info.status == "FINISHED"
    assert run.data.params["epochs"] == "1"


def test_an_unknown_run_is_replaced_by_a_new_one(store):
    state = {"run_name": "elsewhere", "run_id": "0" * 32}
    train(store, "moved", before=lambda _, tracker: tracker.load_state_dict(state))
    assert [run.info.run_name for run in runs(store, "moved")] == ["elsewhere"]


def test_an_evaluator_on_its_own(store):
    training = build_training(1)
    MLflowTracker(str(store), experiment_name="evaluation").attach(training.evaluator)
    training.evaluator.run()
    (run,) = runs(store, "evaluation")
    assert run.data.metrics["test/mean_score"] == pytest.approx(training.evaluator.state.metrics["mean_score"])


ODD_NAMES = ["run 1?b=2", "a#b", "50%25", 'it\'s "q" ü']


@pytest.mark.parametrize("variable", [False, True], ids=["folder", "environment variable"])
def test_store_and_artifacts_lie_in_the_folder_whatever_its_name(tmp_path, monkeypatch, variable):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path.joinpath("root", *ODD_NAMES)
    folder.mkdir(parents=True)
    (folder / "curves [a]#1.png").write_bytes(b"picture")
    if variable:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", sqlite_uri(folder / "mlflow.db"))
    train(folder, "odd", artifacts=[str(folder / "curves [a]#1.png")])
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(folder)]
    assert outside == []
    assert (folder / "mlflow.db").is_file()
    assert [path.name for path in (folder / "mlruns").rglob("*") if path.is_file()] == ["curves [a]#1.png"]


def test_tags_record_the_provenance(store, tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/metadata.json").write_text('{"name": "Chest", "version": "1.2.3"}')
    train(store, "tags", tags={"kind": "training"}, bundle_root=str(tmp_path))
    (run,) = runs(store, "tags")
    expected = {
        "kind": "training",
        "bundle": "Chest",
        "bundle_version": "1.2.3",
        "package_version": __version__,
    }
    assert expected.items() <= run.data.tags.items()
    assert "weights_sha256" not in run.data.tags


def test_evaluation_is_the_child_of_the_training_that_made_its_weights(store, tmp_path):
    weights = {}
    for name in ("first", "second"):
        weights[name] = tmp_path / f"{name}.pt"
        weights[name].write_bytes(name.encode())
        train(store, "linked", run_name=name, tags={"kind": "training"}, weights=str(weights[name]))
    weights["nobody"] = tmp_path / "other.pt"
    weights["nobody"].write_bytes(b"other")
    for name, path in weights.items():
        options = {"tags": {"kind": "evaluation"}, "weights": str(path), "run_name": f"evaluation of {name}"}
        training = build_training(1)
        MLflowTracker(str(store), experiment_name="linked", **options).attach(training.evaluator)
        training.evaluator.run()
    found = {run.info.run_name: run for run in runs(store, "linked")}
    parents = {name: run.data.tags.get("mlflow.parentRunId") for name, run in found.items()}
    assert parents == {
        "first": None,
        "second": None,
        "evaluation of first": found["first"].info.run_id,
        "evaluation of second": found["second"].info.run_id,
        "evaluation of nobody": None,
    }
    digest = hashlib.sha256(b"second").hexdigest()
    assert found["second"].data.tags["weights_sha256"] == digest
    assert found["evaluation of second"].data.tags["weights_sha256"] == digest


def test_a_long_parameter_is_truncated_to_the_limit_of_mlflow(store):
    train(store, "long", parameters={"tasks": "x" * 7000})
    assert runs(store, "long")[0].data.params["tasks"] == "x" * 6000
