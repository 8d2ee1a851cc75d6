"""Exports a multi-task network to ONNX with outputs named by task and dynamic batch, height and width."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from mtmedformer_monai.io.atomic_files import write_atomically

INPUT_NAME = "image"


def export_onnx(network: nn.Module, path: str | Path, image_size: Sequence[int] = (128, 128)) -> list[str]:
    """Writes a network that returns a dict of tensors as an ONNX file.

    Args:
        network: maps float32 (B, 1, H, W) to a dict, whose keys become the output names of the file; a copy of it is
            exported, on the CPU and in evaluation mode.
        path: output path; the weights are stored in the same file.
        image_size: (H, W) at which the network is traced. The exported network accepts any size.

    Returns:
        Names of the outputs, in the order of the file.

    Raises:
        ImportError: if onnx and onnxscript (extra `onnx`) are not installed.
        TypeError: if the network does not return a dict of tensors.
    """
    try:
        import onnxscript  # noqa: F401  # required by torch.onnx, whose own error is less clear
    except ImportError as error:
        raise ImportError("ONNX export requires onnx and onnxscript: pip install mtmedformer-monai[onnx].") from error
    network = copy.deepcopy(network).cpu().eval()
    image = torch.rand(2, 1, *image_size)  # a batch size of 1 would be treated as a constant
    names = _output_names(network, image)
    dynamic = torch.export.Dim.DYNAMIC
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "network.onnx"
        torch.onnx.export(
            network,
            (image,),
            str(written),
            dynamo=True,
            external_data=False,
            input_names=[INPUT_NAME],
            output_names=names,
            dynamic_shapes={INPUT_NAME: {0: dynamic, 2: dynamic, 3: dynamic}},
            verbose=False,
        )
        content = written.read_bytes()
    write_atomically(path, lambda file: file.write(content))
    return names


@torch.no_grad()
def _output_names(network: nn.Module, image: torch.Tensor) -> list[str]:
    outputs = network(image)
    if not isinstance(outputs, dict):
        raise TypeError(f"network expects to return a dict keyed by task name, got {type(outputs).__name__}.")
    return list(outputs)
