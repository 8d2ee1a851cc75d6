"""Messages in MONAI FL's `ExchangeObject`."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from monai.fl.utils.constants import WeightType
from monai.fl.utils.exchange_object import ExchangeObject
from torch import Tensor

from .strategy import Message

ROUND: Final = "round"
"""In `statistics`: rounds that the server had closed when it broadcast; a site repeats it."""

IMAGES_BY_TASK: Final = "images_by_task"
"""In `statistics` of a site: {task: training images with its label}."""


def to_exchange(message: Message, statistics: Mapping[str, Any]) -> ExchangeObject:
    """A message with what is told beside it."""
    return ExchangeObject(weights=message, weight_type=WeightType.WEIGHTS, statistics=dict(statistics))


def to_message(exchange: Any) -> Message:
    """The tensors of an exchange object; NumPy arrays and plain numbers become tensors.

    A message is numbers and nothing else: any other object, which a transport may have unpickled, is refused before it
    is used.

    Raises:
        TypeError: it is no ExchangeObject, or holds something that is neither a tensor nor a number.
        ValueError: it has no weights; of a site that withholds its update they are empty.
    """
    if not isinstance(exchange, ExchangeObject):
        raise TypeError(f"data expects MONAI FL's ExchangeObject, got {type(exchange).__name__}.")
    if exchange.weights is None:
        raise ValueError("the ExchangeObject expects weights, got none; send what broadcast() or get_weights() gives.")
    if not isinstance(exchange.weights, Mapping):
        raise TypeError(f"weights expect a dict of tensors by name, got {type(exchange.weights).__name__}.")
    return {_checked_name(name): _to_tensor(name, value) for name, value in exchange.weights.items()}


def round_of(exchange: ExchangeObject) -> int | None:
    """The round that it tells, if it does.

    Raises:
        TypeError: it is no whole number.
    """
    return whole_number(exchange, ROUND)


def whole_number(exchange: ExchangeObject, name: str) -> int | None:
    """A whole number of the statistics; None where it isn't there.

    Args:
        exchange: of a client or a server.
        name: of the statistic, such as ROUND.

    Raises:
        TypeError: the statistics are no dict, or it is no whole number.
    """
    statistics = exchange.statistics if exchange.statistics is not None else {}
    if not isinstance(statistics, Mapping):
        raise TypeError(f"statistics expect a dict, got {type(statistics).__name__}.")
    value = statistics.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, numbers.Integral)):
        raise TypeError(f"the statistic {str(name)!r} expects a whole number, got {type(value).__name__}.")
    return None if value is None else int(value)


def _checked_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"weights expect names, got a key of type {type(name).__name__}.")
    return str(name)


def _to_tensor(name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor) and value.layout == torch.strided and not (value.is_complex() or value.is_quantized):
        return value.as_subclass(Tensor)
    is_array = isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf"
    if is_array or isinstance(value, bool | int | float):
        return torch.as_tensor(value)
    kind = f"{type(value).__name__} of {value.dtype}" if hasattr(value, "dtype") else type(value).__name__
    raise TypeError(
        f"{name!r} expects a dense tensor, a numeric array or a plain number, got {kind}; messages carry numbers "
        "alone, send what broadcast() or get_weights() gives."
    )
