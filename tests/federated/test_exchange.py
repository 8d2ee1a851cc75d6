from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.fl.utils.constants import WeightType
from monai.fl.utils.exchange_object import ExchangeObject

from mtmedformer_monai.federated.exchange import (
    IMAGES_BY_TASK,
    ROUND,
    images_by_task_of,
    round_of,
    to_exchange,
    to_message,
)


def test_there_and_back():
    exchange = to_exchange({"mean/w": torch.ones(2)}, {ROUND: 3})
    assert exchange.is_valid_weights()
    assert exchange.weight_type == WeightType.WEIGHTS
    assert round_of(exchange) == 3
    assert to_message(exchange)["mean/w"].tolist() == [1.0, 1.0]


def test_arrays_become_tensors():
    assert to_message(ExchangeObject(weights={"mean/w": np.ones(2, np.float32)}))["mean/w"].dtype == torch.float32


def test_a_site_may_say_nothing_but_not_leave_it_open():
    assert to_message(to_exchange({}, {})) == {}
    assert round_of(ExchangeObject()) is None
    with pytest.raises(ValueError, match="expects weights, got none"):
        to_message(ExchangeObject())
    with pytest.raises(TypeError, match="ExchangeObject, got dict"):
        to_message({"mean/w": torch.ones(2)})


class Trap:
    """Raises an error when it is converted to a number, an array or a tensor."""

    def __array__(self, *args, **kwargs):
        raise AssertionError("converted to an array")

    __float__ = __int__ = __index__ = __len__ = __array__


NOT_NUMBERS = {
    "object": Trap(),
    "text": "1.0",
    "bytes": b"1.0",
    "list": [1.0, 2.0],
    "none": None,
    "array of objects": np.array([{}, 1.0], dtype=object),
    "array of text": np.array(["a"]),
    "complex": torch.ones(2, dtype=torch.complex64),
    "sparse": torch.ones(2, 2).to_sparse(),
    "unsigned of 32 bits": torch.ones(2).to(torch.uint32),
    "of 8 bits": torch.ones(2).to(torch.float8_e5m2),
    "array of another type": np.ones(2, np.uint64),
    "too large": 10**400,
    "module": torch.nn.Linear(1, 1),
    "function": print,
}


@pytest.mark.parametrize("value", NOT_NUMBERS.values(), ids=NOT_NUMBERS.keys())
def test_a_message_is_tensors_and_plain_numbers_alone(value):
    # Code in a message, as in MONAI's advisory GHSA-x6pr-233j-x5cw, never reaches a client; see docs/security.md.
    with pytest.raises(TypeError, match="'precision_mean/w' expects a dense tensor, a numeric array or a plain"):
        to_message(ExchangeObject(weights={"precision/w": torch.ones(2), "precision_mean/w": value}))


@pytest.mark.parametrize("value", [2, 2.0, True, np.float32(2), np.array(2, np.int64), torch.tensor(2.0)])
def test_numbers_of_every_kind_are_taken(value):
    assert float(to_message(ExchangeObject(weights={"w": value}))["w"]) == float(value)


def test_counts_that_overflow_are_refused():
    with pytest.raises(ValueError, match="'round' expects an integer of less than 16 digits"):
        round_of(to_exchange({}, {ROUND: 10**400}))
    for count in (10**400, -1):
        with pytest.raises(TypeError, match="'images_by_task' expects a number of images by task"):
            images_by_task_of(to_exchange({}, {IMAGES_BY_TASK: {"lung": count}}))


def test_names_and_statistics_are_checked():
    with pytest.raises(TypeError, match="expect strings as keys, got int"):
        to_message(ExchangeObject(weights={3: torch.ones(1)}))
    with pytest.raises(TypeError, match="expect a dict of tensors by name, got list"):
        to_message(ExchangeObject(weights=[torch.ones(1)]))
    for value in ("0", 0.5, True, Trap()):
        with pytest.raises(TypeError, match="'round' expects an integer"):
            round_of(ExchangeObject(statistics={ROUND: value}))
    assert round_of(ExchangeObject(statistics={ROUND: np.int64(4)})) == 4
