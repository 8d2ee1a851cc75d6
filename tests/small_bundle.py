"""A copy of the chest bundle that exports within seconds: the time grows with the tasks and the encoder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from monai.bundle import ConfigParser
from torch import nn

from tests.bundles.conftest import ROOT

ENCODER = {
    "_target_": "mtmedformer_monai.networks.TransformerSize",
    "widths": [8, 16],
    "depths": [1, 1],
    "heads": [1, 2],
    "reductions": [2, 1],
    "mlp_ratios": [2, 2],
}


def write_small_bundle(folder: Path, tasks: Sequence[str]) -> nn.Module:
    """Writes a bundle with some of the tasks, a small encoder and random weights, and returns its network."""
    source = ROOT / "bundles/chest_xray_multitask/configs"
    config = json.loads((source / "inference.json").read_text())
    config["tasks"] = [task for task in config["tasks"] if task["name"] in tasks]
    config["network_def"]["encoder"]["size"] = ENCODER
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs/inference.json").write_text(json.dumps(config))
    shutil.copy(source / "metadata.json", folder / "configs")
    network: nn.Module = ConfigParser(config).get_parsed_content("network_def").eval()
    torch.save(network.state_dict(), folder / "models/model.pt")
    return network
