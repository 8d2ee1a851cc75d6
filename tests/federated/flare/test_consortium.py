"""docs/flare.md as a whole: three provisioned hospitals with mutual TLS, up to the first global model."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
import torch

from tests.bundles.conftest import ROOT

pytest.importorskip("nvflare", reason="NVIDIA FLARE is not installed: pip install 'mtmedformer-monai[flare]'")


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def test_three_hospitals_train_the_first_global_model_and_strangers_are_refused(tmp_path, port):
    command = [sys.executable, str(ROOT / "benchmarks/flare_consortium.py")]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "consortium"), "--port", str(port)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "clients without a certificate, and with a foreign one, are refused" in done.stdout
    kits = tmp_path / "consortium/kits/radiographs/prod_00"
    model = torch.load(kits / "localhost/mtmedformer/models/model.pt", weights_only=True)
    assert all(value.isfinite().all() for value in model.values())
    norms = [value for name, value in model.items() if name.endswith("attention_norm.weight")]
    assert norms
    assert all(bool((value != 1.0).any()) for value in norms)  # each began with ones: the sites have trained
