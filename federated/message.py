"""Messages between clients and server: tensors by name, and the kinds of these names.

Tensors in a message are named `kind/parameter`, with a kind of `TensorKind`. A client sends only the parameters that it
trains.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from torch import Tensor

Weights = dict[str, Tensor]
"""{parameter or buffer: tensor}."""
Message = dict[str, Tensor]
"""{`kind/parameter`: tensor}: the server's broadcast, or a client's terms of the sums."""


class TensorKind:
    """Kinds of tensors in messages."""

    MEAN: Final = "mean"
    """Broadcast: the global weights, from which training starts."""
    PRECISION_MEAN: Final = "precision_mean"
    """Sent: precision times mean, or its change; for plain averages, weight times value."""
    PRECISION: Final = "precision"
    """Sent: precision, or its change; for plain averages, the weight. Broadcast: precision of the posterior."""
    CONTROL: Final = "control"
    """Sent and broadcast: control variates and other corrections, or their change."""
    COUNT: Final = "count"
    """Sent: number of images behind a control variate, or its change, or behind a Gram matrix; one number per
    parameter."""
    GRAM: Final = "gram"
    """Sent: Gram matrix of a layer's inputs, times the number of images; upper triangle, under its weight's name."""
    GRAM_MEAN: Final = "gram_mean"
    """Sent: change of a layer's weight and bias, times its Gram matrix and the number of images."""
    CHANGE: Final = "change"
    """Sent: change of a layer's weight and bias, times the number of images."""
    UNITS: Final = "units"
    """Sent: number of the group of hidden units that a parameter lists, and the axis; int64 (2,)."""
    SETTING: Final = "setting"
    """Broadcast: a scalar setting of the round, common to all clients."""
    GROUP: Final = "group"
    """Sent: 1 for each task that the client trains, named by the task; these tasks are its group."""
    MOMENTS: Final = "moments"
    """Sent: a few sums per parameter, from which the variances between clients and groups are estimated."""
    WITHIN: Final = "within"
    """Broadcast: one number per parameter, the variance of clients' weights around their group's mean."""


def key(kind: str, name: str) -> str:
    """Returns the name of a tensor in a message.

    Example:
        >>> key(TensorKind.MEAN, "encoder.weight")
        'mean/encoder.weight'
    """
    return f"{kind}/{name}"


@lru_cache(maxsize=64)
def names_by_kind(names: tuple[str, ...]) -> Mapping[str, Mapping[str, str]]:
    """Returns {kind: {parameter: name}} of the names of a message, which are the same ones for most messages.

    Example:
        >>> names_by_kind(("mean/w", "mean/b", "setting/damping"))
        {'mean': {'w': 'mean/w', 'b': 'mean/b'}, 'setting': {'damping': 'setting/damping'}}
    """
    found: dict[str, dict[str, str]] = {}
    for name in names:
        kind, slash, parameter = name.partition("/")
        if slash:
            found.setdefault(kind, {})[parameter] = name
    return found


def pick(message: Mapping[str, Tensor], kind: str) -> Weights:
    """Returns {parameter: tensor} of one kind."""
    names = names_by_kind(tuple(message)).get(kind, {})
    return {parameter: message[name] for parameter, name in names.items()}


def without(message: Mapping[str, Tensor], kind: str) -> Message:
    """Returns the message without the tensors of one kind."""
    left_out = {*names_by_kind(tuple(message)).get(kind, {}).values()}
    return {name: value for name, value in message.items() if name not in left_out}
