"""Conversion between messages and MONAI FL's `ExchangeObject`."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from monai.fl.utils.constants import WeightType
from monai.fl.utils.exchange_object import ExchangeObject
from torch import Tensor

from mtmedformer_monai.io.atomic_files import load_checkpoint, save_state

from .message import Message

ROUND: Final = "round"
"""Key in `statistics`: number of rounds that the server had closed when it broadcast; clients send it back."""

ACCEPTED: Final = "accepted"
"""Key in the statistics of a client's broadcast: last round of which the server has accepted a message from it. A
client whose later message was lost or refused returns to its state after that round; see `SiteSession`.
"""

_TOO_LARGE: Final = 2**53
"""Integers from here on are not exact as float64, and not finite in the end."""

NO_ROUND: Final = -1
"""Value of ACCEPTED for a client from which no message was accepted."""

IMAGES_BY_TASK: Final = "images_by_task"
"""Key in a client's `statistics`: {task: number of training images with a label of it}."""


def to_exchange(message: Message, statistics: Mapping[str, Any]) -> ExchangeObject:
    """Returns an ExchangeObject with a message and its statistics."""
    return ExchangeObject(weights=message, weight_type=WeightType.WEIGHTS, statistics=dict(statistics))


def to_message(exchange: Any) -> Message:
    """Returns the tensors of an ExchangeObject; NumPy arrays and plain numbers become tensors.

    A message holds only numbers: any other object, which a transport may have unpickled, is rejected before it is used.

    Raises:
        TypeError: not an ExchangeObject, or it holds a value that is neither a tensor nor a number.
        ValueError: `weights` is None. A client that withholds its update sends an empty dict.
    """
    if not isinstance(exchange, ExchangeObject):
        raise TypeError(f"data expects MONAI FL's ExchangeObject, got {type(exchange).__name__}.")
    if exchange.weights is None:
        raise ValueError("ExchangeObject expects weights, got none; send the result of broadcast() or get_weights().")
    if not isinstance(exchange.weights, Mapping):
        raise TypeError(f"weights expect a dict of tensors by name, got {type(exchange.weights).__name__}.")
    return {_checked_name(name): _to_tensor(name, value) for name, value in exchange.weights.items()}


def round_of(exchange: ExchangeObject) -> int | None:
    """Returns the round in the statistics; None if it is missing.

    Raises:
        TypeError: it is not an integer.
    """
    return whole_number(exchange, ROUND)


def images_by_task_of(exchange: ExchangeObject) -> dict[str, int] | None:
    """Returns a client's number of training images by task; None if its statistics do not tell.

    Raises:
        TypeError: the statistic is not a dict of integers of 0 or more by name.
    """
    counts = exchange.statistics.get(IMAGES_BY_TASK) if isinstance(exchange.statistics, Mapping) else None
    if counts is None:
        return None
    if not isinstance(counts, Mapping) or not all(
        isinstance(name, str) and isinstance(count, numbers.Integral) and 0 <= int(count) < _TOO_LARGE
        for name, count in counts.items()
    ):
        raise TypeError(f"the statistic {IMAGES_BY_TASK!r} expects a number of images by task.")
    return {str(name): int(count) for name, count in counts.items()}


def whole_number(exchange: ExchangeObject, name: str) -> int | None:
    """Returns an integer from the statistics; None if it is missing.

    Args:
        exchange: from a client or a server.
        name: of the statistic, such as ROUND.

    Raises:
        TypeError: the statistics are not a dict, or the value is not an integer.
        ValueError: the value is too large.
    """
    statistics = exchange.statistics if exchange.statistics is not None else {}
    if not isinstance(statistics, Mapping):
        raise TypeError(f"statistics expect a dict, got {type(statistics).__name__}.")
    value = statistics.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, numbers.Integral)):
        raise TypeError(f"the statistic {str(name)!r} expects an integer, got {type(value).__name__}.")
    if value is not None and abs(int(value)) >= _TOO_LARGE:
        raise ValueError(f"the statistic {str(name)!r} expects an integer of less than 16 digits.")
    return None if value is None else int(value)


def plain_statistics(exchange: ExchangeObject) -> dict[str, Any]:
    """Returns the statistics of an ExchangeObject with plain strings as keys, which every transport accepts."""
    return {str(getattr(name, "value", name)): value for name, value in (exchange.statistics or {}).items()}


def read_exchange(path: Path) -> ExchangeObject:
    """Reads an ExchangeObject from a file that `write_exchange` has written, or from a file of weights."""
    return exchange_of(load_checkpoint(path))


def exchange_of(content: Mapping[str, Any]) -> ExchangeObject:
    """Returns the ExchangeObject in the content of such a file."""
    kind = WeightType(content.get("weight_type", WeightType.WEIGHTS))
    return ExchangeObject(content["weights"], weight_type=kind, statistics=dict(content.get("statistics", {})))


def write_exchange(exchange: ExchangeObject, path: Path, **others: int | str) -> Path:
    """Writes an ExchangeObject as plain tensors and numbers, atomically; returns the path.

    Args:
        exchange: to write.
        path: of the file.
        others: further entries of the file.
    """
    content = {
        "weights": to_message(exchange) if exchange.weights else {},
        "weight_type": str(WeightType(exchange.weight_type or WeightType.WEIGHTS).value),
        "statistics": plain_statistics(exchange),
    }
    save_state({**others, **content}, path)
    return path


_DTYPES: Final = frozenset({
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
})  # fmt: skip
"""Types of numbers with which every operation is defined."""


def _checked_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"weights expect strings as keys, got {type(name).__name__}.")
    return str(name)


def _to_tensor(name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor) and value.layout == torch.strided and value.dtype in _DTYPES:
        return value if type(value) is Tensor else value.as_subclass(Tensor)
    is_array = isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf"
    if is_array or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < _TOO_LARGE):
        found = torch.as_tensor(value)
        if found.dtype in _DTYPES:
            return found
    kind = f"{type(value).__name__} of {value.dtype}" if hasattr(value, "dtype") else type(value).__name__
    raise TypeError(
        f"{name!r} expects a dense tensor, a numeric array or a plain number, got {kind}; send the result of "
        "broadcast() or get_weights()."
    )
