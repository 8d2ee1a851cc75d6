"""Conversion between messages and MONAI FL's `ExchangeObject`."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from monai.fl.utils.constants import FlStatistics, WeightType
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

REFUSED: Final = "refused"
"""Key in the statistics of a client's broadcast: 1 if the server has refused its message of this round, which would be
refused again; it is then computed anew.
"""

_TOO_LARGE: Final = 2**53
"""Integers from here on are not exact as float64, and not finite in the end."""

NO_ROUND: Final = -1
"""Value of ACCEPTED for a client from which no message was accepted."""

IMAGES_BY_TASK: Final = "images_by_task"
"""Key in a client's `statistics`: {task: number of training images with a label of it}."""

MOST_TASKS: Final = 1000
"""Number of tasks that a client may state."""

LONGEST_TASK: Final = 100
"""Number of characters of a task's name in a message."""

MOST_METRICS: Final = 1000
"""Number of metrics that a site may state."""

_METRIC: Final = re.compile(r"\w[\w .-]{0,149}")
"""Names of metrics that MLflow accepts behind the name of a site."""

_LONGEST_REASON: Final = 500


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
        ValueError: a name that no task has, or too many.
    """
    counts = exchange.statistics.get(IMAGES_BY_TASK) if isinstance(exchange.statistics, Mapping) else None
    if counts is None:
        return None
    if not isinstance(counts, Mapping) or not all(
        isinstance(name, str) and isinstance(count, numbers.Integral) and 0 <= int(count) < _TOO_LARGE
        for name, count in counts.items()
    ):
        raise TypeError(f"the statistic {IMAGES_BY_TASK!r} expects a number of images by task.")
    check_tasks(counts)
    return {str(name): int(count) for name, count in counts.items()}


def check_tasks(names: Collection[str]) -> None:
    """Checks the names of tasks that a site states: they name groups, files and entries of every broadcast.

    Raises:
        ValueError: a name that no task has, or too many.
    """
    if len(names) > MOST_TASKS:
        raise ValueError(f"a message expects at most {MOST_TASKS} tasks, got {len(names)}.")
    bad = next((name for name in names if not name.isidentifier() or len(name) > LONGEST_TASK), None)
    if bad is not None:
        raise ValueError(
            f"a message expects names of tasks, identifiers of at most {LONGEST_TASK} characters, got {bad!r}; rename "
            "the task."
        )


def received(exchange: ExchangeObject) -> ExchangeObject:
    """Returns what a server uses of a site's message, as plain tensors and numbers; the rest may be anything.

    Raises:
        TypeError: a value has another type.
        ValueError: a value is out of range.
    """
    statistics: dict[str, Any] = {name: whole_number(exchange, name) for name in (ROUND, str(FlStatistics.DATA_COUNT))}
    statistics[IMAGES_BY_TASK] = images_by_task_of(exchange)
    return ExchangeObject(
        None if exchange.weights is None else to_message(exchange),
        weight_type=WeightType(exchange.weight_type or WeightType.WEIGHTS),
        statistics={name: value for name, value in statistics.items() if value is not None},
    )


def plain_metrics(stated: Any) -> dict[str, float]:
    """Returns the metrics that a site states, {name: value}; NaN for values that are not finite or of 16 digits.

    Names that MLflow refuses are left out.

    Raises:
        TypeError: not numbers by name.
        ValueError: too many.

    Example:
        >>> plain_metrics({"lung_dice": 0.9, "../lung": 1.0, "loss": 10**400})
        {'lung_dice': 0.9, 'loss': nan}
    """
    if not isinstance(stated, Mapping):
        raise TypeError(f"metrics expect numbers by name, got {type(stated).__name__}.")
    if len(stated) > MOST_METRICS:
        raise ValueError(f"a message expects at most {MOST_METRICS} metrics, got {len(stated)}.")
    bad = next((value for value in stated.values() if not isinstance(value, numbers.Real)), None)
    if bad is not None:
        raise TypeError(f"metrics expect numbers by name, got {type(bad).__name__}.")
    return {
        name: float(value) if abs(value) < _TOO_LARGE else math.nan
        for name, value in stated.items()
        if isinstance(name, str) and _METRIC.fullmatch(name)
    }


def one_line(reason: str) -> str:
    r"""Returns a reason that may contain text of a site, short and without line breaks, which would forge a log.

    Example:
        >>> one_line("no tensor\nRound 3: done")
        'no tensor Round 3: done'
    """
    text = "".join(each if each.isprintable() else " " for each in reason[:_LONGEST_REASON])
    return text if len(reason) <= _LONGEST_REASON else f"{text} ..."


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
