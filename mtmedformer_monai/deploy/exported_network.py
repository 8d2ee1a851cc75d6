"""Runs a network in ONNX Runtime or OpenVINO in place of PyTorch."""

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

from mtmedformer_monai.networks import export_onnx
from mtmedformer_monai.uncertainty.guard import tap_encoder

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
    """A network with the pooled features of its encoder as a further output."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Returns {task: raw output}, and the features (B, F) as `FEATURES`."""
        with tap_encoder(self.network) as taken:
            outputs = dict(self.network(image))
        return outputs | {FEATURES: taken[0]}


class _Features(nn.Module):
    def forward(self, features: Tensor) -> list[Tensor]:
        """Returns the pooled features as one map (B, F, 1, 1), whose mean are these features again."""
        return [features[:, :, None, None]]


def run_elsewhere(network: nn.Module, runtime: str, image_size: Sequence[int]) -> ExportedNetwork:
    """Exports a network, and returns it in another runtime.

    It uses as many threads as PyTorch. The exported file is temporary: exporting takes about 20 seconds.

    Args:
        network: network with an encoder, in evaluation mode.
        runtime: 'onnx' or 'openvino'.
        image_size: (H, W) of the network's input.

    Raises:
        ValueError: the runtime is unknown or not installed.
    """
    check_runtime(runtime)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        names = export_onnx(NetworkWithFeatures(network), path, image_size)
        run = _open_onnx(path) if runtime == "onnx" else _open_openvino(path)
    return ExportedNetwork(run, names, int(getattr(network, "stride", 1)))


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


def _open_openvino(path: Path) -> Run:
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # as PyTorch, also where the processor has bfloat16
    }
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)

    def run(image: NDArray[np.float32]) -> list[NDArray[Any]]:
        found = compiled(image)
        return [found[output] for output in compiled.outputs]

    return run
