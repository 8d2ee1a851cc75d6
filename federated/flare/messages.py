"""Conversion between MONAI FL's `ExchangeObject` and FLARE's `FLModel`.

Tensors are the model's parameters, so FLARE streams them; statistics are plain strings and numbers in its metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from monai.fl.utils.exchange_object import ExchangeObject
from nvflare.app_common.abstract.fl_model import FLModel

from mtmedformer_monai.federated.exchange import plain_metrics, plain_statistics, to_exchange
from mtmedformer_monai.federated.wire import with_repeats, without_repeats

STEP: Final = "step"
"""Metadata: what a site is asked for: MEASURE, TRAIN or EVALUATE."""
MEASURE, TRAIN, EVALUATE = "measure", "train", "evaluate"
SETTINGS: Final = "settings"
"""Metadata of a task: `JobSettings.to_dict()`."""
STATISTICS: Final = "statistics"
"""Metadata: statistics of the ExchangeObject."""
SHAPES: Final = "shapes"
"""Metadata: shapes of the precisions that are sent as one number; see `wire.without_repeats`."""
SITE_METRICS: Final = "site_metrics"
"""Metadata of a result: metrics of the broadcast weights on the site's validation images."""
FAILURE: Final = "failure"
"""Metadata of a result: why the site could not do its step."""


def to_model(exchange: ExchangeObject, **meta: Any) -> FLModel:
    """Returns an FLModel with contiguous CPU tensors, as FLARE requires, and metadata."""
    sent, shapes = without_repeats(exchange.weights or {})
    tensors = {name: value.detach().cpu().contiguous() for name, value in sent.items()}
    return FLModel(params=tensors, meta={**meta, STATISTICS: plain_statistics(exchange), SHAPES: shapes})


def from_model(model: FLModel) -> ExchangeObject:
    """Returns the ExchangeObject of an FLModel.

    Raises:
        TypeError: its parameters are not tensors by name.
        ValueError: it lists shapes that are none.
    """
    if not isinstance(model.params or {}, Mapping):
        raise TypeError(f"a message expects tensors by name, got {type(model.params).__name__}.")
    statistics, shapes = ((model.meta or {}).get(name) for name in (STATISTICS, SHAPES))
    message = with_repeats(model.params or {}, shapes if isinstance(shapes, Mapping) else {})
    return to_exchange(message, statistics if isinstance(statistics, Mapping) else {})


def read_result(model: FLModel) -> tuple[ExchangeObject, dict[str, float]]:
    """Returns a site's message and metrics.

    Raises:
        ValueError: the site reports that it failed, or sends too many metrics.
        TypeError: the result has another form, or metrics that are not numbers.
    """
    meta = model.meta or {}
    if FAILURE in meta:
        raise ValueError(str(meta[FAILURE])[:200])
    return from_model(model), plain_metrics(meta.get(SITE_METRICS) or {})


def failure(reason: str) -> FLModel:
    """Returns the answer of a site that could not do its step."""
    return FLModel(params={}, meta={FAILURE: reason})
