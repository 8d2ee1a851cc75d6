import subprocess

import pytest

from mtmedformer_monai import __version__
from mtmedformer_monai.engines.handlers import run_tags as module
from mtmedformer_monai.engines.handlers.run_tags import run_tags


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with one commit that appears to contain the package."""
    (tmp_path / "package").mkdir()
    source = tmp_path / "package/__init__.py"
    source.write_text("x = 1\n")
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "First"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(module.mtmedformer_monai, "__file__", str(source))
    return tmp_path


def test_commit_of_a_checkout_and_whether_it_was_changed(checkout):
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True)
    commit = head.stdout.strip()
    assert run_tags()["git_commit"] == commit
    (checkout / "package/__init__.py").write_text("x = 2\n")
    assert run_tags()["git_commit"] == f"{commit}-dirty"


def test_an_installed_wheel_has_only_its_version(tmp_path, monkeypatch):
    monkeypatch.setattr(module.mtmedformer_monai, "__file__", str(tmp_path / "site/mtmedformer_monai/__init__.py"))
    assert run_tags() == {"package_version": __version__}


def test_without_git_the_commit_is_left_out(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert "git_commit" not in run_tags()


def test_a_folder_without_metadata_names_no_bundle(tmp_path):
    assert "bundle" not in run_tags(tmp_path)
