"""Messages in MONAI FL's `ExchangeObject`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from monai.fl.utils.constants import WeightType
from monai.fl.utils.exchange_object import ExchangeObject

from .strategy import Message

ROUND: Final = "round"
"""In `statistics`: rounds that the server had closed when it broadcast; a site repeats it."""

IMAGES_BY_TASK: Final = "images_by_task"
"""In `statistics` of a site: {task: training images with its label}."""


def to_exchange(message: Message, statistics: Mapping[str, Any]) -> ExchangeObject:
    """A message with what is told beside it."""
    return ExchangeObject(weights=message, weight_type=WeightType.WEIGHTS, statistics=dict(statistics))


def to_message(exchange: Any) -> Message:
    """The tensors of an exchange object; NumPy arrays become tensors.

    Raises:
        TypeError: it is no ExchangeObject.
        ValueError: it has no weights; of a site that withholds its update they are empty.
    """
    if not isinstance(exchange, ExchangeObject):
        raise TypeError(f"data expects MONAI FL's ExchangeObject, got {type(exchange).__name__}.")
    if exchange.weights is None:
        raise ValueError("the ExchangeObject expects weights, got none; send what broadcast() or get_weights() gives.")
    return {name: torch.as_tensor(value) for name, value in exchange.weights.items()}


def round_of(exchange: ExchangeObject) -> int | None:
    """The round that it tells, if it does."""
    number = (exchange.statistics or {}).get(ROUND)
    return None if number is None else int(number)
