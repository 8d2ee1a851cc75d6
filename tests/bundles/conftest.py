"""Bundles under test, and a small cohort for each."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUNDLES = sorted(path for path in (ROOT / "bundles").iterdir() if (path / "configs").is_dir())


one_bundle = pytest.mark.parametrize("bundle", BUNDLES[:1], ids=lambda path: path.name, indirect=True)
"""For cases that do not depend on the bundle."""


@pytest.fixture(params=BUNDLES, ids=lambda path: path.name)
def bundle(request):
    return request.param


PATIENTS = {"chest": 24, "mammography": 10}


@pytest.fixture(scope="session")
def cohorts(tmp_path_factory):
    """Makes a cohort of a kind that trains within seconds, once: folder with datalist.json."""
    from mtmedformer_monai.data.synthetic.cohorts import make_cohort

    made = {}

    def make(kind):
        if kind not in made:
            made[kind] = make_cohort(kind, tmp_path_factory.mktemp(kind), PATIENTS[kind], image_size=72, seed=3).parent
        return made[kind]

    return make


@pytest.fixture
def cohort(bundle, cohorts):
    """The cohort of the bundle's own demo, smaller."""
    return cohorts(json.loads((bundle / "configs/demo.json").read_text())["cohort"]["kind"])


@pytest.fixture
def tasks(bundle):
    """The bundle's tasks, as its config has them."""
    return json.loads((bundle / "configs/train.json").read_text())["tasks"]


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
            "output_dir": str(output),
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
