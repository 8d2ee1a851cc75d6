import math

import pytest

from mtmedformer_monai.federated.simulation import SimulationSettings, compare
from mtmedformer_monai.federated.simulation.comparison import comparison_table, mean_of_sites
from tests.bundles.conftest import ROOT

CHEST = ROOT / "bundles/chest_xray_multitask"


def test_means_are_over_the_sites_that_know():
    found = mean_of_sites({"a": {"dice": 0.5, "auc": math.nan}, "b": {"dice": 0.7, "auc": 0.9}, "c": {"ap": math.nan}})
    assert found["dice"] == pytest.approx(0.6)
    assert found["auc"] == pytest.approx(0.9)
    assert math.isnan(found["ap"])


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
