"""The environment of the MONAI Deploy application is installed from files that exist."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import monai_deploy_cost


def test_its_requirements_exist(tmp_path, monkeypatch):
    called = []

    def run(command, **options):
        called.append([str(each) for each in command])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    monai_deploy_cost.build_deploy_environment(tmp_path / "environment")
    (install,) = [command for command in called if "install" in command]
    files = [name for name in install if name.endswith(".txt")]
    assert len(files) == 2
    assert all((monai_deploy_cost.ROOT / name).is_file() for name in files)
