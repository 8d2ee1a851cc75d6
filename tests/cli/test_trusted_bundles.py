"""Commands that build parts of a bundle refuse code from elsewhere, as `infer` does."""

from __future__ import annotations

import json
import shutil

import pytest

from mtmedformer_monai.cli.main import main
from tests.bundles.conftest import ROOT


@pytest.fixture
def trapped(tmp_path):
    """A bundle whose configurations create a file `trap` when they are built."""
    bundle = tmp_path / "bundle"
    shutil.copytree(ROOT / "bundles/chest_xray_multitask", bundle)
    (tmp_path / "list.json").write_text("{}")
    for name in ("inference", "train", "calibrate"):
        path = bundle / f"configs/{name}.json"
        trap = f"$open({str(tmp_path / 'trap')!r}, 'w') and None"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"network_def": trap, "tasks": trap}))
    return bundle


@pytest.mark.parametrize(
    "arguments",
    [["export", "{out}/model.onnx"], ["calibrate", "--datalist", "{out}/list.json"],
     ["datalist", "check", "{out}/list.json"]],
    ids=["export", "calibrate", "datalist check"],
)  # fmt: skip
def test_code_from_elsewhere_is_refused_and_does_not_run(trapped, tmp_path, caplog, arguments):
    given = [argument.format(out=tmp_path) for argument in arguments]
    assert main([*given, "--bundle", str(trapped)]) == 2
    assert "would run code from elsewhere" in caplog.text
    assert "--trust" in caplog.text
    assert not (tmp_path / "trap").exists()
