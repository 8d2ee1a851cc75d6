"""Runs a network in ONNX Runtime in place of PyTorch.

OpenVINO was measured as well (benchmarks/runtimes.py), and takes longer than PyTorch.
"""

# B batch, F pooled features of the encoder

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtmedformer_monai.networks import MTMedFormer, export_onnx

from .output_kinds import RUNTIMES

FEATURES = "encoder.features"
"""Name of the output with the encoder's pooled features, which the guard measures."""

Run = Callable[[NDArray[np.float32]], Sequence[NDArray[Any]]]
"""Maps an image float32 (B, 1, H, W) to the outputs."""


class ExportedNetwork(nn.Module):
    """A network that was exported with `NetworkWithFeatures`; returns the dict of the original network.

    Args:
        run: runs the network.
        names: names of its outputs, `FEATURES` among them.
        stride: the original network's stride.

    Attributes:
        encoder: passes the features on, so that the guard observes them as it observes a PyTorch encoder.
    """

    def __init__(self, run: Run, names: Sequence[str], stride: int) -> None:
        super().__init__()
        self.encoder = _Features()
        self.stride = stride
        self._run, self._names = run, list(names)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Returns {task: raw output} of images (B, 1, H, W)."""
        given = np.ascontiguousarray(image.as_subclass(Tensor).float().numpy())
        values = [torch.from_numpy(np.array(value)) for value in self._run(given)]
        outputs = dict(zip(self._names, values, strict=True))
        self.encoder(outputs.pop(FEATURES))
        return outputs


class NetworkWithFeatures(nn.Module):
    """A network with the pooled features of its encoder as a further output.

    The guard's hook cannot be exported, so the steps of the network's `forward` are called one by one.
    """

    def __init__(self, network: MTMedFormer) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Returns {task: raw output}, and the features (B, F) as `FEATURES`."""
        features, pyramids = self.network.encode(image)
        outputs = self.network.decode(features, pyramids, (image.shape[2], image.shape[3]))
        pooled = [each.mean(dim=(2, 3)) for each in features]  # as `guard.pool_features`, which cannot be traced
        return outputs | {FEATURES: torch.cat(pooled, dim=1)}


class _Features(nn.Module):
    def forward(self, features: Tensor) -> list[Tensor]:
        """Returns the pooled features as one map (B, F, 1, 1), whose mean are these features again."""
        return [features[:, :, None, None]]


def run_elsewhere(network: nn.Module, runtime: str, image_size: Sequence[int]) -> ExportedNetwork:
    """Exports a network, and returns it in another runtime.

    It uses as many threads as PyTorch. The exported file is temporary: exporting takes about 20 seconds.

    Args:
        network: an `MTMedFormer` in evaluation mode.
        runtime: 'onnx'.
        image_size: (H, W) of the network's input.

    Raises:
        ValueError: the runtime is unknown or not installed, or the network is another one.
    """
    check_runtime(runtime)
    if not isinstance(network, MTMedFormer):
        raise ValueError(f"--runtime {runtime} expects an MTMedFormer, got {type(network).__name__}; use torch.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        names = export_onnx(NetworkWithFeatures(network), path, image_size)
        run = _open_onnx(path)
    return ExportedNetwork(run, names, network.stride)


def check_runtime(runtime: str) -> None:
    """Checks that a runtime is installed.

    Raises:
        ValueError: it is unknown or not installed.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"--runtime expects one of {', '.join(RUNTIMES)}, got {runtime!r}.")
    for module in ("onnxscript", RUNTIMES[runtime]) if runtime != "torch" else ():
        if find_spec(module) is None:
            raise ValueError(
                f"--runtime {runtime} needs {module}; install it with pip install 'mtmedformer-monai[{runtime}]'."
            )


def _open_onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # slow beside other processes
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    return lambda image: cast("Sequence[NDArray[Any]]", session.run(None, {"image": image}))
