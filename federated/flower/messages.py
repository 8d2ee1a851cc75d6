"""Conversion between MONAI FL's `ExchangeObject` and Flower's `RecordDict`.

Tensors are an `ArrayRecord`; statistics, settings and the name of the site are texts of a `ConfigRecord`.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from monai.fl.utils.exchange_object import ExchangeObject

from mtmedformer_monai.federated.exchange import plain_statistics, to_exchange
from mtmedformer_monai.federated.message import Message

ARRAYS: Final = "arrays"
ENTRIES: Final = "entries"
STATISTICS: Final = "statistics"
STEP: Final = "step"
"""Entry of a task: what a site is asked for: MEASURE or TRAIN."""
MEASURE, TRAIN = "measure", "train"
SETTINGS: Final = "settings"
"""Entry of a task: `JobSettings.to_dict()` as JSON."""
SITE: Final = "site"
"""Entry of an answer: name of the site."""


def to_record(exchange: ExchangeObject, **entries: str) -> RecordDict:
    """Returns a RecordDict with the tensors, the statistics and other texts."""
    texts = {**entries, STATISTICS: json.dumps(plain_statistics(exchange))}
    return RecordDict({ARRAYS: to_arrays(exchange.weights or {}), ENTRIES: ConfigRecord(dict(texts))})


def to_arrays(message: Message) -> ArrayRecord:
    """Returns an ArrayRecord of contiguous CPU tensors."""
    return ArrayRecord(
        torch_state_dict=OrderedDict((name, value.detach().cpu().contiguous()) for name, value in message.items())
    )


def from_record(content: RecordDict) -> tuple[ExchangeObject, dict[str, str]]:
    """Returns the ExchangeObject and the texts of a RecordDict.

    Raises:
        ValueError: it lacks a record, its arrays cannot be read, or its statistics are not a JSON object.
    """
    if ARRAYS not in content.array_records or ENTRIES not in content.config_records:
        raise ValueError(f"a message expects the records {ARRAYS!r} and {ENTRIES!r}, got {sorted(content)}.")
    texts = {name: value for name, value in content.config_records[ENTRIES].items() if isinstance(value, str)}
    statistics = read_json(texts.pop(STATISTICS, "{}"), STATISTICS)
    try:
        arrays = dict(content.array_records[ARRAYS].to_torch_state_dict())
    except Exception as error:  # NumPy's reader of files raises errors of many types
        raise ValueError(f"a message expects arrays as Flower writes them, got a {type(error).__name__}.") from error
    return to_exchange(arrays, statistics), texts


def read_json(text: str, name: str) -> dict[str, Any]:
    """Returns a JSON object.

    Raises:
        ValueError: the text is not one.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:  # also of numbers of too many digits
        raise ValueError(f"{name} expects JSON: {error}") from error
    if not isinstance(found, Mapping):
        raise ValueError(f"{name} expects a JSON object, got {type(found).__name__}.")
    return dict(found)
