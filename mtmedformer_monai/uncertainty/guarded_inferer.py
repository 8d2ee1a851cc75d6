"""Inferer and transform that flag, or refuse, images unlike the training images."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.inferers import Inferer, SimpleInferer
from monai.transforms import Transform
from torch import Tensor, nn

from mtmedformer_monai.keys import GUARD, IMAGE, PRED, REFUSED
from mtmedformer_monai.transforms.radiograph_meta import add_flag

from .guard import Guard, guard_path, load_guard, tap_encoder

MODES = ("flag", "refuse", "off")
DISTANCE, LIMIT, RATE = f"{GUARD}.distance", f"{GUARD}.limit", f"{GUARD}.false_alarm_rate"
"""Entries of the prediction, (B,), beside those of the tasks, whose names contain no dot."""

FLAG = "unlike the training images"
"""Flag of an image that the guard does not recognize; the distance and its limit follow."""

_logger = logging.getLogger(__name__)


class GuardedInferer(Inferer):
    """Runs another inferer and measures the distance of each image from the training images.

    It returns the outputs and, in addition, `guard.distance`, `guard.limit` and `guard.false_alarm_rate` (B,), which
    `GuardImaged` evaluates. An inferer that runs the network once costs nothing more; otherwise the encoder runs once
    more, with the plain image and weights.

    Args:
        weights: file of the network's weights, beside which `guard.pt` lies.
        mode: 'flag' uses the guard if there is one; 'refuse' raises an error if there is none; 'off' does not use it.
        inferer: inferer that runs the network; MONAI's SimpleInferer by default.

    Raises:
        ValueError: if the mode is unknown.
    """

    def __init__(self, weights: str | Path, mode: str = "flag", inferer: Inferer | None = None) -> None:
        super().__init__()
        self._mode = check_mode(mode)
        self._weights = weights
        self._inferer = inferer or SimpleInferer()
        self._guard: Guard | None = None
        self._is_loaded = False

    @torch.no_grad()
    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Runs the inferer.

        Raises:
            FileNotFoundError: if images shall be refused and there is no guard.
            ValueError: if the guard belongs to other weights or to another network.
        """
        guard = self._load()
        if guard is None:
            return dict(self._inferer(inputs, network, *args, **kwargs))
        with tap_encoder(network) as features:
            outputs = dict(self._inferer(inputs, network, *args, **kwargs))
            if len(features) != 1:
                features.clear()
                network(inputs)
        distance = guard.distance(features[0])
        limits = {LIMIT: guard.limit, RATE: guard.false_alarm_rate}
        return outputs | {DISTANCE: distance} | {name: torch.full_like(distance, v) for name, v in limits.items()}

    def _load(self) -> Guard | None:
        """Loads the guard at the first call, when the weights exist."""
        if not self._is_loaded and self._mode != "off":
            if self._mode == "refuse" or guard_path(self._weights).is_file():
                self._guard = load_guard(self._weights)
            else:
                _logger.info(
                    "No %s beside the weights: images unlike the training images are not detected.",
                    guard_path(self._weights).name,
                )
        self._is_loaded = True
        return self._guard


class GuardImaged(Transform):
    """Evaluates the guard for one image; list it first in the postprocessing, before `ActivateTasksd`.

    It adds `guard`: {'distance', 'limit', 'false_alarm_rate', 'unusual'}. An unusual image gets a flag in its metadata
    and, in the mode 'refuse', the reason under `refused`, for which `SavePredictions` withholds its findings. Items
    without a distance are returned unchanged.

    Args:
        mode: 'flag', 'refuse' or 'off', as of the `GuardedInferer`.
        pred_key: key of the prediction.
        image_key: key of the image.

    Raises:
        ValueError: if the mode is unknown.
    """

    def __init__(self, mode: str = "flag", pred_key: str = PRED, image_key: str = IMAGE) -> None:
        self._mode = check_mode(mode)
        self.pred_key = pred_key
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with the guard's verdict."""
        item = dict(data)
        pred = dict(item[self.pred_key])
        given = {name: float(pred.pop(name)) for name in (DISTANCE, LIMIT, RATE) if name in pred}
        item[self.pred_key] = pred
        if DISTANCE not in given or self._mode == "off":
            return item
        unusual = not given[DISTANCE] <= given[LIMIT]  # also if it is NaN
        item[GUARD] = {
            "distance": round(given[DISTANCE], 4),
            "limit": round(given[LIMIT], 4),
            "false_alarm_rate": round(given[RATE], 6),
            "unusual": unusual,
        }
        if unusual:
            self._mark(item, f"{FLAG} (distance {given[DISTANCE]:.2f}, limit {given[LIMIT]:.2f})")
        return item

    def _mark(self, item: dict[Hashable, Any], flag: str) -> None:
        meta = getattr(item.get(self.image_key), "meta", None)
        if meta is not None:
            add_flag(meta, flag)
        if self._mode == "refuse":
            item[REFUSED] = f"the image is {flag}; look at it, or report its findings nevertheless with --guard flag."


def check_mode(mode: str) -> str:
    """Validates the option `guard`.

    Raises:
        ValueError: if it is unknown.
    """
    if mode not in MODES:
        raise ValueError(f"guard expects one of {MODES}, got {mode!r}.")
    return mode
