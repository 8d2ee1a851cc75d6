"""The MONAI Deploy application, where the App SDK is installed; see deploy_app/requirements.txt."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pydicom
import pytest

ROOT = Path(__file__).parents[2]
APP = ROOT / "deploy_app"
PYTHON = os.environ.get("MONAI_DEPLOY_PYTHON", sys.executable)
"""Interpreter of an environment with the App SDK."""


def has_sdk(python):
    found = "import importlib.util as u, sys; sys.exit(not (u.find_spec('holoscan') and u.find_spec('monai.deploy')))"
    return subprocess.run([python, "-c", found], capture_output=True, check=False).returncode == 0


@pytest.fixture
def run_app(tmp_path):
    if not has_sdk(PYTHON):
        pytest.skip("the MONAI Deploy App SDK is not installed; set MONAI_DEPLOY_PYTHON to a Python that has it")

    def run(source, bundle):
        paths = ["--input", str(source), "--output", str(tmp_path / "out"), "--model", str(bundle)]
        return subprocess.run(
            [PYTHON, str(APP / "app.py"), *paths],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run, tmp_path / "out"


@pytest.mark.parametrize(
    ("kind", "bundle"),
    [("chest", "chest_xray_multitask"), ("mammography", "mammography_multitask")],
    ids=["chest", "mammography"],
)
def test_it_writes_segmentations_and_reports_of_the_source(kind, bundle, run_app, tmp_path):
    from mtmedformer_monai.data.synthetic.cohorts import make_cohort

    run, output = run_app
    cohort = make_cohort(kind, tmp_path / "cohort", 8, image_size=96, seed=5).parent
    source = sorted(cohort.rglob("*.dcm"))[0]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "image.dcm").write_bytes(source.read_bytes())
    finished = run(tmp_path / "in", ROOT / "bundles" / bundle)
    header = pydicom.dcmread(source, stop_before_pixels=True)
    assert "1 images processed, 0 refused" in finished.stdout + finished.stderr
    assert str(header.PatientID) not in finished.stdout + finished.stderr
    assert len(json.loads((output / "results.json").read_text())["studies"]) == 1
    written = {path.name.rsplit("_", 1)[1]: pydicom.dcmread(path) for path in output.rglob("*.dcm")}
    assert {written["seg.dcm"].Modality, written["sr.dcm"].Modality} == {"SEG", "SR"}
    assert (written["seg.dcm"].Rows, written["seg.dcm"].Columns) == (header.Rows, header.Columns)
    for name in ("seg.dcm", "sr.dcm"):
        assert written[name].StudyInstanceUID == header.StudyInstanceUID
        assert written[name].PatientID == header.PatientID


@pytest.mark.skipif(importlib.util.find_spec("holoscan") is not None, reason="the App SDK is installed")
def test_files_of_all_selected_series_are_listed_once(monkeypatch):
    core = SimpleNamespace(Fragment=object, Operator=object, OperatorSpec=object)
    monkeypatch.setitem(sys.modules, "monai.deploy", SimpleNamespace(core=core))
    monkeypatch.setitem(sys.modules, "monai.deploy.core", core)
    spec = importlib.util.spec_from_file_location("infer_operator", APP / "infer_operator.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def series(*names):
        made = [SimpleNamespace(get_native_sop_instance=lambda n=n: SimpleNamespace(filename=n)) for n in names]
        return SimpleNamespace(series=SimpleNamespace(get_sop_instances=lambda: made))

    first = SimpleNamespace(selected_series=[series("a.dcm", "b.dcm"), series("b.dcm")])
    second = SimpleNamespace(selected_series=[series("c.dcm")])
    assert module.list_files([first, second]) == [Path("a.dcm"), Path("b.dcm"), Path("c.dcm")]
    assert module.list_files(None) == []
