"""Mixed-precision inference on any device; the mixed precision of the stock engines supports only CUDA."""

from __future__ import annotations

from typing import Any

import torch
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor, nn


class AutocastInferer(Inferer):
    """Runs another inferer under `torch.autocast` on the input's device; outputs come back as float32.

    The engines' own `amp=True` is hard-wired to CUDA (on a CPU it warns and computes in float32). Prefer it on CUDA,
    where it combines float16 with a gradient scaler. This inferer is meant for bfloat16, which needs no scaler, on
    other devices and on CPUs (faster than float32 only with AMX or AVX512-BF16).

    Args:
        inferer: inferer that runs the network; MONAI's SimpleInferer by default.
        dtype: name of the reduced-precision torch dtype.
        enabled: if False, the wrapped inferer runs unchanged.
    """

    def __init__(self, inferer: Inferer | None = None, dtype: str = "bfloat16", enabled: bool = True) -> None:
        super().__init__()
        self._inferer = inferer or SimpleInferer()
        self._dtype = getattr(torch, dtype, None)
        self._enabled = enabled
        if self._dtype not in (torch.bfloat16, torch.float16):
            raise ValueError(f"dtype expects 'bfloat16' or 'float16', got {dtype!r}.")

    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Returns the network's output, a tensor or a dict of tensors, as float32."""
        with torch.autocast(inputs.device.type, dtype=self._dtype, enabled=self._enabled):
            outputs = self._inferer(inputs, network, *args, **kwargs)
        if isinstance(outputs, dict):
            return {name: output.float() for name, output in outputs.items()}
        return outputs.float()
