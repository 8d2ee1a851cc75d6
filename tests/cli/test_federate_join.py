"""A hospital's administrator prepares a startup kit."""

from __future__ import annotations

import json

import pytest
import yaml

pytest.importorskip("nvflare", reason="NVIDIA FLARE is not installed: pip install 'mtmedformer-monai[flare]'")

from mtmedformer_monai.cli.main import main
from mtmedformer_monai.federated.flare.job import ALLOWED
from tests.bundles.conftest import ROOT

BUNDLE = ROOT / "bundles/chest_xray_multitask"


@pytest.fixture
def kit(tmp_path):
    for name in ("startup", "local"):
        (tmp_path / "kit" / name).mkdir(parents=True)
    (tmp_path / "kit/local/resources.json.default").write_text('{"class_allow_list": ["x.Y"]}')
    return tmp_path / "kit"


def test_it_writes_the_participants_own_settings_and_allows_the_classes(kit, tmp_path):
    (tmp_path / "list.json").write_text("{}")
    own = ["--bundle", str(BUNDLE), "--datalist", str(tmp_path / "list.json"), "--override", "batch_size=4"]
    assert main(["federate", "join", str(kit), *own]) == 0
    written = yaml.safe_load((kit / "local/mtmedformer.yaml").read_text())
    paths = {"bundle": str(BUNDLE.resolve()), "datalist": str(tmp_path / "list.json")}
    assert written == {**paths, "overrides": {"batch_size": 4}}
    assert json.loads((kit / "local/resources.json").read_text())["class_allow_list"] == ["x.Y", *ALLOWED]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (["--bundle", "nowhere"], "expects a bundle with configs/federated.json, got"),
        (["--bundle", str(BUNDLE), "--datalist", "none.json"], "none.json does not exist"),
    ],
)
def test_missing_files_are_reported(kit, caplog, own, message):
    assert main(["federate", "join", str(kit), *own]) == 2
    assert message in caplog.text


def test_a_folder_that_is_no_kit_is_reported(tmp_path, caplog):
    assert main(["federate", "join", str(tmp_path), "--bundle", str(BUNDLE)]) == 2
    assert "expects a startup kit with a folder 'startup'" in caplog.text
