"""Bundles are packed, and loaded elsewhere by MONAI, without a network."""

import shutil
import zipfile

import pytest
import torch
from monai.bundle import ConfigParser, download, download_large_files, load

from mtmedformer_monai.cli.main import main
from mtmedformer_monai.io.bundle_archive import pack_bundle


@pytest.fixture
def offline(monkeypatch):
    """Connections fail."""

    def refuse(*args, **options):
        raise AssertionError("the test opened a connection")

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)


def test_monai_loads_the_network_from_a_local_zip(bundle, tmp_path, offline):
    archive = tmp_path / f"{bundle.name}.zip"
    assert main(["export", "--zip", str(archive), "--bundle", str(bundle)]) == 0
    elsewhere = tmp_path / "elsewhere"
    download(name=bundle.name, url=archive.as_uri(), bundle_dir=str(elsewhere), progress=False)
    network = load(bundle.name, bundle_dir=str(elsewhere), workflow_type="inference", device="cpu")
    expected = torch.load(bundle / "models/model.pt", weights_only=True)
    found = network.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_zip_holds_the_bundle_without_results_and_states(bundle, tmp_path):
    copy = tmp_path / bundle.name
    shutil.copytree(bundle, copy, ignore=shutil.ignore_patterns("eval", "data"))
    for extra in ("eval/result.json", "models/model_previous.pt", "models/.hidden", "models/model.pt.x.partial"):
        (copy / extra).parent.mkdir(exist_ok=True)
        (copy / extra).write_text("x")
    (copy / "docs/link").symlink_to("/etc/hostname")
    names = pack_bundle(copy, tmp_path / "packed.zip")
    with zipfile.ZipFile(tmp_path / "packed.zip") as archive:
        assert archive.namelist() == names
        assert archive.testzip() is None
    assert {f"{bundle.name}/{name}" for name in ("LICENSE", "large_files.yml", "models/model.pt")} <= set(names)
    models = {f"models/{name}" for name in ("model_previous.pt", ".hidden", "model.pt.x.partial")}
    left_out = {"eval/result.json", "docs/link", *models}
    assert not {f"{bundle.name}/{name}" for name in left_out} & set(names)


def test_equal_bundles_give_equal_files(bundle, tmp_path):
    for name in ("a.zip", "b.zip"):
        pack_bundle(bundle, tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_large_files_are_read_by_monai(bundle, tmp_path, offline):
    shutil.copy(bundle / "large_files.yml", tmp_path)
    assert ConfigParser.load_config_file(str(tmp_path / "large_files.yml")) == {"large_files": []}
    download_large_files(bundle_path=str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["large_files.yml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["bundle.tar", "--zip"], "ends in .zip"), (["a.zip", "--zip", "--weights", "w.pt"], "cannot be packed")],
    ids=["suffix", "weights"],
)
def test_wrong_options_are_explained(bundle, arguments, message, caplog, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *arguments, "--bundle", str(bundle)]) == 2
    assert message in caplog.text
    assert list(tmp_path.iterdir()) == []
