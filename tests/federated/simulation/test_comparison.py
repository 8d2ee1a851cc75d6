import math

import pytest

from mtmedformer_monai.federated.simulation import SimulationSettings, compare
from mtmedformer_monai.federated.simulation.comparison import comparison_table, served_by_owners
from tests.bundles.conftest import ROOT

CHEST = ROOT / "bundles/chest_xray_multitask"


def test_a_task_is_served_by_its_owners_weighted_by_their_images():
    by_site = {
        "a": {"lung_dice": 0.9, "finding_auc": math.nan, "mean_score": 0.5},
        "b": {"lung_dice": 0.5, "finding_auc": 0.8, "mean_score": 0.7},
        "c": {"lung_dice": 0.1, "finding_auc": 0.6, "box_ap": 0.2},
    }
    images = {"a": {"lung": 30}, "b": {"lung": 10, "finding": 0}, "c": {"lung": 0, "finding": 4, "box": 0}}
    found = served_by_owners(by_site, images)
    assert found["lung_dice"] == pytest.approx((30 * 0.9 + 10 * 0.5) / 40)
    assert found["finding_auc"] == pytest.approx(0.6)
    assert math.isnan(found["box_ap"])
    assert found["mean_score"] == pytest.approx(0.6)


def test_a_metric_belongs_to_the_task_with_the_longest_matching_name():
    images = {"a": {"opacity": 1, "opacity_box": 0}, "b": {"opacity": 0, "opacity_box": 1}}
    found = served_by_owners({"a": {"opacity_box_ap": 0.1}, "b": {"opacity_box_ap": 0.7}}, images)
    assert found == {"opacity_box_ap": pytest.approx(0.7)}


def test_the_table_has_a_row_per_method():
    table = comparison_table({"bayesian": {"dice": 0.5}, "fedavg": {"dice": 0.25, "auc": math.nan}}, ["dice", "auc"])
    assert table.splitlines()[2:] == ["| bayesian | 0.500 | - |", "| fedavg | 0.250 | - |"]


def test_an_unknown_method_is_rejected_before_anything_is_created(tmp_path):
    settings = SimulationSettings(CHEST, tmp_path / "out")
    with pytest.raises(ValueError, match="strategy expects one of"):
        compare(settings, ["fedmagic"])
    assert not (tmp_path / "out").exists()


def test_split_learning_starts_from_common_weights(tmp_path):
    settings = SimulationSettings(CHEST, tmp_path / "out", start="largest")
    with pytest.raises(ValueError, match="start expects 'common' for the split-learning baseline 'festa', got 'larg"):
        compare(settings, ["festa"])
    assert not (tmp_path / "out").exists()


def test_invalid_simulation_settings_are_rejected(tmp_path):
    with pytest.raises(ValueError, match="num_rounds expects 1 or more, got 0"):
        SimulationSettings(CHEST, tmp_path, num_rounds=0)
    with pytest.raises(ValueError, match="partition expects one of iid, site, labels, tasks, got 'scanner'"):
        SimulationSettings(CHEST, tmp_path, partition="scanner")
    with pytest.raises(ValueError, match="start expects one of common, own, largest, got 'random'"):
        SimulationSettings(CHEST, tmp_path, start="random")
    with pytest.raises(ValueError, match="pretrain_epochs expects 1 or more, got 0"):
        SimulationSettings(CHEST, tmp_path, start="own", pretrain_epochs=0)
    with pytest.raises(FileNotFoundError, match=r"expects a folder with configs/train\.json"):
        SimulationSettings(tmp_path, tmp_path)
