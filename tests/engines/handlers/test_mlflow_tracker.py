"""One store for all tests: making an SQLite store takes MLflow some seconds."""

import pytest
from mlflow import MlflowClient

from mtmedformer_monai.engines import MLflowTracker
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


def test_figures_of_both_engines_and_artifacts(store, tmp_path):
    (tmp_path / "curves.png").write_bytes(b"picture")
    training, _ = train(
        store, "figures", 2, artifacts=[str(tmp_path)], parameters={"seed": 3}, iteration_interval=1, run_name="one"
    )
    (run,) = runs(store, "figures")
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


def test_resumed_training_goes_on_with_its_run(store):
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


def test_unknown_run_is_begun_anew(store):
    state = {"run_name": "elsewhere", "run_id": "0" * 32}
    train(store, "moved", before=lambda _, tracker: tracker.load_state_dict(state))
    assert [run.info.run_name for run in runs(store, "moved")] == ["elsewhere"]


def test_evaluator_by_itself(store):
    training = build_training(1)
    MLflowTracker(str(store), experiment_name="evaluation").attach(training.evaluator)
    training.evaluator.run()
    (run,) = runs(store, "evaluation")
    assert run.data.metrics["test/mean_score"] == pytest.approx(training.evaluator.state.metrics["mean_score"])
