from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.fl.utils.constants import WeightType
from monai.fl.utils.exchange_object import ExchangeObject

from mtmedformer_monai.federated.exchange import ROUND, round_of, to_exchange, to_message


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
