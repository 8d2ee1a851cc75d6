"""Converts items to tensors and plain values for the disk cache, and restores them exactly."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

_TYPE = "__type__"


def pack(value: Any) -> Any:
    """Converts a value to a form that `torch.load(..., weights_only=True)` can read.

    Masks that contain only 0, 1 and NaN are stored with one byte per pixel.

    Raises:
        TypeError: the value's type is not supported.
    """
    if isinstance(value, MetaTensor):
        operations = pack(list(value.applied_operations))
        return {_TYPE: "meta", "data": value.as_tensor().clone(), "meta": pack(value.meta), "applied": operations}
    if isinstance(value, torch.Tensor):
        return _pack_tensor(value.detach())
    if isinstance(value, np.ndarray):
        return {_TYPE: "array", "data": torch.from_numpy(np.ascontiguousarray(value)), "shape": list(value.shape)}
    if isinstance(value, dict):
        return {_TYPE: "dict", "items": [(pack(key), pack(each)) for key, each in value.items()]}
    if type(value) in (list, tuple):
        return {_TYPE: type(value).__name__, "items": [pack(each) for each in value]}
    if isinstance(value, Enum) and isinstance(value, str):  # MONAI's metadata keys, which are equal to their text
        return str(value.value)
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    raise TypeError(f"a cached item expects arrays, text and numbers, got {type(value).__name__}; use cache='memory'.")


def unpack(value: Any) -> Any:
    """Restores a value from the form that `pack` returns."""
    if not isinstance(value, dict):
        return value
    kind = value[_TYPE]
    if kind == "meta":
        meta = unpack(value["meta"])
        return MetaTensor(value["data"], meta=meta, applied_operations=unpack(value["applied"]))
    if kind == "array":
        return np.asarray(value["data"].numpy()).reshape(value["shape"])
    if kind == "mask":
        data = value["data"].float()
        return data.masked_fill_(value["data"] == 2, torch.nan)
    if kind == "dict":
        return {unpack(key): unpack(each) for key, each in value["items"]}
    items = [unpack(each) for each in value["items"]]
    return tuple(items) if kind == "tuple" else items


def _pack_tensor(tensor: torch.Tensor) -> Any:
    plain = tensor.clone(memory_format=torch.contiguous_format)
    if plain.dtype != torch.float32 or plain.ndim < 2:
        return plain
    missing = plain.isnan()
    binary = (plain == 0) & ~plain.signbit() | (plain == 1) | missing
    if not bool(binary.all()):
        return plain
    return {_TYPE: "mask", "data": plain.nan_to_num(nan=2.0).to(torch.uint8)}
