"""FLARE's simulator and ours train the same global model from the same file of sites."""

from __future__ import annotations

import json

import pytest
import torch
import yaml

from mtmedformer_monai.cli.main import main
from mtmedformer_monai.data.synthetic.cohorts import make_cohort
from mtmedformer_monai.federated.simulation import SimulationSettings
from mtmedformer_monai.federated.simulation.cohort import prepare_data
from mtmedformer_monai.uncertainty.posterior_file import load_posterior
from tests.bundles.conftest import ROOT
from tests.federated.simulation.conftest import SMALL

pytest.importorskip("nvflare", reason="NVIDIA FLARE is not installed: pip install 'mtmedformer-monai[flare]'")

BUNDLE = ROOT / "bundles/chest_xray_multitask"
TOLERANCE = 1e-6
"""The same operations in the same order; processes may differ in their number of threads."""


@pytest.fixture
def sites(tmp_path):
    """Writes a file of two sites with different annotations and a small network."""
    cohort = make_cohort("chest", tmp_path / "cohort", 14, image_size=64, seed=0)
    chosen = SimulationSettings(BUNDLE, tmp_path / "parts", num_sites=2, datalist=cohort, partition="tasks")
    small = {"network_def#encoder#size": SMALL, "image_size": [32, 32]}
    listed = [
        {"name": name, "datalist": str(path), "overrides": small} for name, path in prepare_data(chosen).sites.items()
    ]
    path = tmp_path / "sites.yaml"
    path.write_text(yaml.safe_dump({"sites": listed}))
    return path


def test_both_simulators_train_the_same_global_model(sites, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    common = ["--bundle", str(BUNDLE), "--sites", str(sites), "--rounds", "2", "--local-epochs", "1"]
    small = ["--image-size", "32", "--override", f"network_def#encoder#size={json.dumps(SMALL)}"]
    assert main(["federate", "flare", *common, "--output", str(tmp_path / "flare")]) == 0
    assert main(["federate", "simulate", *common, *small, "--baselines", "--output", str(tmp_path / "ours")]) == 0
    ours, theirs = tmp_path / "ours/bayesian", tmp_path / "flare/models"
    names = [path.name for path in sorted(ours.glob("model*.pt"))]
    assert len(names) == 3
    for name in names:
        expected, found = torch.load(ours / name), torch.load(theirs / name)
        assert found.keys() == expected.keys()
        for tensor, value in expected.items():
            torch.testing.assert_close(found[tensor], value, rtol=0, atol=TOLERANCE, msg=tensor)
    posteriors = [load_posterior(path) for path in theirs.glob("posterior_*.pt")]
    assert [each.provenance.num_sites for each in posteriors] == [2, 2]
    written = json.loads((tmp_path / "flare/rounds.json").read_text())
    assert [row["round"] for row in written] == [1, 2, 3, 4]  # the last two distill the groups' networks into one
    parameters = sum(4 * value.numel() for value in torch.load(theirs / "model.pt").values())
    assert (
        5 * parameters < written[2]["bytes_broadcast"] < 6.25 * parameters
    )  # two sites get their own and two teachers
    for row in written[:2]:  # both ways to two sites: means as float32, precisions as one number per tensor
        assert row["bytes_sent"] < 1.25 * 2 * parameters
        assert 2 * parameters < row["bytes_broadcast"] + 0.01 * parameters < 1.25 * 2 * parameters
    assert all("lung_dice" in row["sites"]["site_1"] for row in written)
    assert (tmp_path / "flare/mlflow.db").is_file()
