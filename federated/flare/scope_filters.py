"""A site's own privacy policy, `local/privacy.json`, applied to the update of the weights.

FLARE applies the filters of the policy to what a task returns. Our messages are natural parameters, sums of precisions
and precision-weighted means, on which a filter made for weights does harm: FLARE's SVTPrivacy makes precisions negative
and means of any size. The executor therefore takes over the policy's filters of weights, and the client applies them to
the change of the weights (`client/update_filters.py`). Messages are declared as APP_DEFINED, so that FLARE does not
apply these filters again; filters of any other kind remain FLARE's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nvflare.apis.dxo import DataKind, from_shareable
from nvflare.apis.dxo_filter import DXOFilter
from nvflare.apis.fl_constant import FilterKey, FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable

from mtmedformer_monai.federated.client.update_filters import FlareFilter, UpdateFilter

_TAKEN: list[UpdateFilter] = []
"""Of this process, in which FLARE runs one site: the executor and the training script are threads of it."""

_WEIGHTS = {DataKind.WEIGHTS, DataKind.WEIGHT_DIFF}


def take_over(fl_ctx: FLContext) -> None:
    """Takes over the filters of weights in the policy of the job's scope."""
    scope: Any = fl_ctx.get_prop(FLContextKey.SCOPE_OBJECT)
    listed = scope.task_result_filters[FilterKey.OUT] if scope is not None else []
    _TAKEN[:] = [FlareFilter(each, fl_ctx) for each in listed if _filters_weights(each)]


def site_filters() -> Sequence[UpdateFilter]:
    """Returns the filters that were taken over."""
    return tuple(_TAKEN)


def as_sums(result: Shareable) -> Shareable:
    """Returns the result of a task, declared as what it is: sums, not weights."""
    if result.get_return_code() != ReturnCode.OK:
        return result
    dxo = from_shareable(result)
    dxo.data_kind = DataKind.APP_DEFINED
    return dxo.update_shareable(result)


def _filters_weights(given: Any) -> bool:
    return isinstance(given, DXOFilter) and (not given.data_kinds or bool(_WEIGHTS & set(given.data_kinds)))
