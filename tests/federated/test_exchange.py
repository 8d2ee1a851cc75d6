from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.fl.utils.constants import WeightType
from monai.fl.utils.exchange_object import ExchangeObject

from mtmedformer_monai.federated.exchange import (
    IMAGES_BY_TASK,
    ROUND,
    images_by_task_of,
    plain_metrics,
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


@pytest.mark.parametrize(
    "names",
    [["../lung"], ["lung+opacity"], ["lung\nmasks"], ["a" * 101], [""], [f"task_{n}" for n in range(1001)]],
    ids=["path", "group", "line", "long", "empty", "many"],
)
def test_names_that_no_task_has_are_refused(names):
    with pytest.raises(ValueError, match=r"a message expects (names of|at most 1000) tasks"):
        images_by_task_of(to_exchange({}, {IMAGES_BY_TASK: dict.fromkeys(names, 1)}))


def test_metrics_keep_what_a_log_and_mlflow_take():
    stated = {"lung_dice": 0.5, "a/../b": 1.0, "line\n": 1.0, "m" * 151: 1.0, 3: 1.0}
    assert plain_metrics(stated) == {"lung_dice": 0.5}
    values = plain_metrics({"a": math.inf, "b": 1e300, "c": 10**400, "d": math.nan})
    assert all(math.isnan(value) for value in values.values())


@pytest.mark.parametrize(
    "stated", [{"a": "0.5"}, {"a": [0.5]}, {"a": Trap()}, [0.5]], ids=["text", "list", "trap", "no"]
)
def test_metrics_that_are_no_numbers_are_refused(stated):
    with pytest.raises(TypeError, match="metrics expect numbers by name, got"):
        plain_metrics(stated)


def test_more_metrics_than_a_site_has_are_refused():
    with pytest.raises(ValueError, match="at most 1000 metrics, got 1001"):
        plain_metrics(dict.fromkeys((f"m{n}" for n in range(1001)), 0.0))
