import json
import math

from mtmedformer_monai.engines import History
from mtmedformer_monai.engines.handlers.history import read_history, write_json
from tests.engines.tiny_training import build_training


def test_one_entry_per_epoch(tmp_path):
    training, path = build_training(2), tmp_path / "out" / "history.json"
    history = History(str(path), training.evaluator)
    training.attach(history).run()
    rows = json.loads(path.read_text())
    assert [row["epoch"] for row in rows] == [1, 2]
    assert {"loss", "loss_lung", "loss_finding", "learning_rate"} == set(rows[0]["train"])
    assert rows[1]["validation"]["mean_score"] == training.evaluator.state.metrics["mean_score"]
    assert {"loss", "lung_dice", "finding_auc"} < set(rows[0]["validation"])
    assert rows[0]["seconds"] > 0
    assert history.key_metric == "mean_score"


def test_best_is_the_first_of_equals_by_the_key_metric(tmp_path):
    history = History(str(tmp_path / "h.json"), build_training(1).evaluator)
    history._rows = [
        {"epoch": e, "validation": v} for e, v in enumerate(({"mean_score": 0.2}, {}, {"mean_score": 0.2}))
    ]
    assert history.best()["epoch"] == 0
    history._rows.append({"epoch": 3, "validation": {"mean_score": 0.4}})
    assert history.best()["epoch"] == 3


def test_undefined_metrics_are_null_in_the_file(tmp_path):
    path = tmp_path / "h.json"
    write_json(path, [{"epoch": 1, "train": {"loss": math.nan}, "validation": {"a": math.inf, "b": 1.5}}])
    assert "NaN" not in path.read_text()
    (row,) = read_history(path)
    assert math.isnan(row["train"]["loss"])
    assert row["validation"]["b"] == 1.5


def test_a_new_training_starts_a_new_history(tmp_path):
    path = tmp_path / "h.json"
    write_json(path, [{"epoch": e, "train": {}, "validation": {}} for e in range(1, 9)])
    training = build_training(1)
    training.attach(History(str(path), training.evaluator)).run()
    assert [row["epoch"] for row in read_history(path)] == [1]


def test_a_missing_file_is_an_empty_history(tmp_path):
    assert read_history(tmp_path / "none.json") == []
    assert History(str(tmp_path / "none.json")).best() is None
