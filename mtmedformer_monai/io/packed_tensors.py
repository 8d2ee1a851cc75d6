"""States of many small tensors, joined into few large ones for files.

Saving and the weights-only loading of PyTorch take their time for each tensor, whatever its size, and the state of a
federation has several for each of a network's hundreds of parameters.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

LARGEST: Final = 1 << 16
"""Number of elements from which a tensor stays as it is: joining would need its memory a second time."""

_MARK: Final = "\0"
"""Start of a string that stands for a tensor, or of one that starts with this character itself."""

_STATE, _SHAPES, _JOINED = "packed state", "shapes", "joined"


def pack(state: Any) -> dict[str, Any]:
    """Returns the state with its small tensors on the CPU joined by type; `unpack` restores it.

    Args:
        state: nested dicts, lists and tuples of tensors and plain values. One that occurs twice is restored as two.
    """
    small: list[Tensor] = []

    def replace(value: Any) -> Any:
        if _is_small(value):
            small.append(value.detach())
            return f"{_MARK}{len(small) - 1}"
        if isinstance(value, str) and value.startswith(_MARK):
            return f"{_MARK}{value}"
        return value

    changed = _map(state, replace)
    joined = {
        str(kind): torch.cat([each.reshape(-1) for each in small if each.dtype == kind])
        for kind in dict.fromkeys(each.dtype for each in small)
    }
    shapes = [(str(each.dtype), list(each.shape)) for each in small]
    return {_STATE: changed, _SHAPES: shapes, _JOINED: joined}


def unpack(content: Any) -> Any:
    """Returns the state in the content of a file, and anything that `pack` has not made as it is.

    Raises:
        ValueError: the joined tensors are not as long as their shapes say.
    """
    if not isinstance(content, dict) or content.keys() != {_STATE, _SHAPES, _JOINED}:
        return content
    tensors, starts = [], dict.fromkeys(content[_JOINED], 0)
    for kind, shape in content[_SHAPES]:
        count = torch.Size(shape).numel()
        part = content[_JOINED][kind][starts[kind] : starts[kind] + count]
        starts[kind] += count
        if len(part) < count:
            raise ValueError(f"a packed state expects {count} more numbers of {kind}, got {len(part)}.")
        tensors.append(part.reshape(shape).clone())  # a view would keep, and save, all the others

    def restore(value: Any) -> Any:
        if not isinstance(value, str) or not value.startswith(_MARK):
            return value
        rest = value.removeprefix(_MARK)
        return rest if rest.startswith(_MARK) else tensors[int(rest)]

    return _map(content[_STATE], restore)


def _map(value: Any, change: Callable[[Any], Any]) -> Any:
    """Returns a nested value with its leaves changed; keys stay as they are."""
    if type(value) in (dict, OrderedDict):
        return type(value)((name, _map(each, change)) for name, each in value.items())
    if type(value) in (list, tuple):
        return type(value)(_map(each, change) for each in value)
    return change(value)


def _is_small(value: Any) -> bool:
    is_plain = type(value) is Tensor and value.layout == torch.strided and not value.is_quantized
    return is_plain and value.device.type == "cpu" and value.numel() < LARGEST
