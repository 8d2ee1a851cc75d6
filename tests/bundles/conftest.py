"""Bundles under test, and one small cohort for all of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUNDLES = sorted(path for path in (ROOT / "bundles").iterdir() if (path / "configs").is_dir())


@pytest.fixture(params=BUNDLES, ids=lambda path: path.name)
def bundle(request):
    return request.param


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    """A cohort that trains within seconds: folder with datalist.json."""
    from mtmedformer_monai.data import make_chest_cohort

    return make_chest_cohort(tmp_path_factory.mktemp("cohort"), num_patients=24, image_size=72, seed=3).parent


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory):
    """One MLflow store for all runs: making one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def run_bundle(cohort, tracking_uri, tmp_path, monkeypatch):
    """Calls `monai.bundle.run` in this process, with small sizes; returns the folder of the outputs."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)

    def run(run_id, configs, folder, **overrides):
        from monai.bundle import run as bundle_run

        output = tmp_path / "output"
        sizes = {"image_size": [64, 64], "max_epochs": 1, "batch_size": 8}
        common = {
            "bundle_root": str(folder),
            "dataset_dir": str(cohort),
            "output_dir": f"$'{output}'",
            "ckpt_dir": str(output / "models"),
        }
        bundle_run(
            run_id,
            config_file=[os.path.join(folder, "configs", f"{name}.json") for name in configs],  # noqa: PTH118
            meta_file=os.path.join(folder, "configs", "metadata.json"),  # noqa: PTH118
            logging_file=os.path.join(folder, "configs", "logging.conf"),  # noqa: PTH118
            **(common | sizes | overrides),
        )
        return output

    return run
