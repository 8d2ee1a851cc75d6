"""`OrientBreastd`: every breast with its chest wall on the same side."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor

from mtmedformer_monai.keys import IMAGE, LATERALITY, MetaKey
from mtmedformer_monai.transforms.geometry.canvas import image_of
from mtmedformer_monai.transforms.geometry.patient_orientation import turn_of_orientation
from mtmedformer_monai.transforms.geometry.turns import Turn, turn_item
from mtmedformer_monai.transforms.view_names import normalize_laterality
from mtmedformer_monai.transforms.warn_once import WarnOnce

from .breast_mask import coarse_copy, find_coarse_breast
from .chest_wall import Side, find_chest_wall


class OrientBreastd(MapTransform):
    """Lays mammograms upright with the chest wall on one side; masks and boxes follow, `to_source` keeps the way back.

    Whole pixels move, so nothing is interpolated. See `plan_turn` for what decides. A laterality that neither header
    nor datalist gives is filled in: 'R' for what had to be mirrored, which holds for images that were stored as they
    are taken, not mirrored. The metadata's Patient Orientation stays the source's.

    Args:
        keys: the image's key, and the targets' (task names); missing targets are passed over.
        chest_wall: the side where it goes.
        fill_laterality: whether to fill in the laterality.
        image_key: key of the image.
    """

    def __init__(
        self,
        keys: KeysCollection,
        chest_wall: Literal["left", "right"] = "left",
        fill_laterality: bool = True,
        image_key: str = IMAGE,
    ) -> None:
        super().__init__(keys, allow_missing_keys=True)
        if chest_wall not in {"left", "right"}:
            raise ValueError(f"chest_wall expects 'left' or 'right', got {chest_wall!r}.")
        self.chest_wall = chest_wall
        self.fill_laterality = fill_laterality
        self.image_key = image_key
        self.warn = WarnOnce(logging.getLogger(__name__))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item laid like all others."""
        image = image_of(data, self.image_key)
        laterality = image.meta[MetaKey.LATERALITY] or normalize_laterality(data.get(LATERALITY))
        plan = plan_turn(image, image.meta[MetaKey.PATIENT_ORIENTATION], laterality)
        if plan.problem:
            self.warn(image.meta[MetaKey.FILENAME], plan.problem)
        turn = plan.turn if self.chest_wall == "left" else replace(plan.turn, flip_x=not plan.turn.flip_x)
        item = turn_item(data, turn if plan.is_known else Turn(), self.keys, self.image_key)
        if self.fill_laterality and plan.is_known and not laterality:
            laterality = "R" if plan.turn.is_mirror else "L"
        item[self.image_key].meta[MetaKey.LATERALITY] = laterality
        return item


@dataclass(frozen=True)
class TurnPlan:
    """How an image is to be laid.

    Attributes:
        turn: puts the chest wall on the left.
        is_known: whether anything tells where the chest wall lies.
        problem: what a user should hear of, '' if nothing.
    """

    turn: Turn
    is_known: bool = True
    problem: str = ""


def plan_turn(image: Tensor, orientation: str = "", laterality: str = "") -> TurnPlan:
    """Decides how to lay an image with its chest wall on the left.

    1. Patient Orientation, where it tells front from back, lays the image: it knows of turns by 90 and 180 degrees.
    2. Without it, the image tells by itself on which side its chest wall lies.
    3. Where the image is not clear either, the laterality tells: right breasts are hung with the chest wall on the
       right.

    Where the image clearly contradicts Patient Orientation or laterality, the image is believed, since it is what a
    network will look at, and the plan says so: the image was mirrored or turned after its header was written, or the
    header names the wrong side. What is up stays as the header says.

    Args:
        image: float (1, H, W) in [0, 1], as stored.
        orientation: see `read_patient_orientation`.
        laterality: 'L', 'R' or ''.
    """
    picture = torch.from_numpy(coarse_copy(image))[None]
    turn = turn_of_orientation(orientation, laterality)
    if turn is None:
        return _plan_by_image(_see(picture), {"L": "left", "R": "right"}.get(laterality, ""))
    if _see(turn.apply(picture)) != "right":
        return TurnPlan(turn)
    return TurnPlan(
        replace(turn, flip_x=not turn.flip_x),
        problem="its Patient Orientation and its pixels disagree on where the chest wall lies; "
        "the pixels are believed.",
    )


def _plan_by_image(seen: Side, expected: str) -> TurnPlan:
    """Without a Patient Orientation: by the chest wall that is seen, else by where the laterality would have it."""
    if not seen and not expected:
        return TurnPlan(Turn(), is_known=False, problem="nothing tells where its chest wall lies; it is left as it is.")
    turn = Turn(flip_x=(seen or expected) == "right")
    if not seen or not expected or seen == expected:
        return TurnPlan(turn)
    return TurnPlan(
        turn,
        problem="its laterality and its pixels disagree on where the chest wall lies; the pixels are believed. "
        "It may be stored mirrored or upside down, or be labeled with the wrong side.",
    )


def _see(picture: Tensor) -> Side:
    """The chest wall's side on a small picture (1, h, w)."""
    found = find_coarse_breast(picture)
    return "" if found is None else find_chest_wall(found)
