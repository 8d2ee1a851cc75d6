"""A federation that trains within seconds: one cohort for all tests, and a small network."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from mtmedformer_monai.data.synthetic.cohorts import make_cohort
from mtmedformer_monai.federated.simulation import SimulationSettings, worker
from mtmedformer_monai.federated.simulation.rounds import Simulation
from tests.bundles.conftest import ROOT

SMALL = {
    "_target_": "mtmedformer_monai.networks.TransformerSize",
    "widths": [8, 16, 20, 32],
    "depths": [1, 1, 1, 1],
}


@pytest.fixture(scope="session")
def small_cohort(tmp_path_factory):
    return make_cohort("chest", tmp_path_factory.mktemp("cohort"), 14, image_size=64, seed=0)


@pytest.fixture(autouse=True)
def _one_store(tracking_uri, monkeypatch):
    """Tracks all simulations in one MLflow store."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)


@pytest.fixture
def settings(tmp_path, small_cohort):
    """Builds settings of two sites and two rounds."""

    def make(**changes):
        sizes = {"num_sites": 2, "num_rounds": 2, "datalist": small_cohort, "image_size": 32, "partition": "tasks"}
        small = {"network_def#encoder#size": SMALL}
        bundle = ROOT / "bundles/chest_xray_multitask"
        return SimulationSettings(bundle, tmp_path / "out", **{"overrides": small, **sizes, **changes})

    return make


@pytest.fixture
def here(monkeypatch):
    """Runs all sites in this process, which clears its caches when a simulation ends, as processes do."""

    @contextmanager
    def processes(self):
        def submit(spec, function, *arguments):
            future = Future()
            future.set_result(function(*arguments))
            return future

        try:
            yield submit
        finally:
            worker._SESSIONS.clear()
            worker._EVALUATIONS.clear()

    monkeypatch.setattr(Simulation, "_processes", processes)
