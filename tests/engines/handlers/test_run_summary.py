import json
import logging
import math

from mtmedformer_monai.engines import History, RunSummary
from mtmedformer_monai.engines.handlers.run_summary import table
from tests.engines.tiny_training import build_training


def test_table_by_hand():
    metrics = {"lung_dice": 0.91234, "lung_box_ap": math.nan, "lung_box_froc": 0.5, "loss": 3.0, "mean_score": 0.7}
    assert table(metrics, ["lung", "lung_box"]).splitlines() == [
        "  lung      dice 0.912",
        "  lung_box  ap -   froc 0.500",
        "            mean_score 0.700",
    ]


def test_training_ends_with_the_metrics_of_the_best_epoch(tmp_path, caplog):
    training = build_training(3)
    history = History(str(tmp_path / "history.json"), training.evaluator)
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "copy.png").touch()
    (tmp_path / "curves.png").touch()
    training.attach(history, RunSummary(training.tasks, str(tmp_path), history))
    with caplog.at_level(logging.INFO, logger="mtmedformer_monai.engines.handlers.run_summary"):
        training.run()
    content = json.loads((tmp_path / "metrics.json").read_text())
    scores = [row["validation"]["mean_score"] for row in history.rows]
    assert content["mean_score"] == max(scores)
    assert content["epoch"] == scores.index(max(scores)) + 1
    assert "lung_dice" in content
    assert f"Metrics of epoch {content['epoch']}, the best:\n  lung" in caplog.text
    assert str(tmp_path / "curves.png") in caplog.text
    assert "copy.png" not in caplog.text  # copies made by MLflow are not listed


def test_evaluation_ends_with_its_own(tmp_path):
    training = build_training(1)
    RunSummary(training.tasks, str(tmp_path)).attach(training.evaluator)
    training.evaluator.run()
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["mean_score"] == training.evaluator.state.metrics["mean_score"]
    assert "epoch" not in content
