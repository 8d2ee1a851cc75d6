"""`OrientBreastd`: orients mammograms so that the chest wall is always on the same side."""

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
from mtmedformer_monai.transforms.radiograph_meta import add_flag
from mtmedformer_monai.transforms.view_names import normalize_laterality
from mtmedformer_monai.transforms.warn_once import WarnOnce

from .breast_mask import coarse_copy, find_coarse_breast
from .chest_wall import Side, find_chest_wall


class OrientBreastd(MapTransform):
    """Orients mammograms upright with the chest wall on a given side.

    Masks and boxes are transformed in the same way, and `to_source` is updated. Pixels are permuted, not interpolated.
    `plan_turn` documents how the orientation is determined; a problem is logged, and becomes a flag of the image. The
    laterality in the metadata is that of the header, or else that of the datalist. The Patient Orientation in the
    metadata remains that of the source.

    Args:
        keys: keys of the image and of the targets (task names); missing targets are skipped.
        chest_wall: the side on which to put the chest wall.
        fill_laterality: whether to guess a missing laterality: 'R' if the image had to be reflected, which is wrong for
            images that are stored mirrored. A guess cannot be told from a fact afterwards.
        image_key: key of the image.
    """

    def __init__(
        self,
        keys: KeysCollection,
        chest_wall: Literal["left", "right"] = "left",
        fill_laterality: bool = False,
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
        """Returns the item in the standard orientation."""
        image = image_of(data, self.image_key)
        laterality = image.meta[MetaKey.LATERALITY] or normalize_laterality(data.get(LATERALITY))
        plan = plan_turn(image, image.meta[MetaKey.PATIENT_ORIENTATION], laterality)
        turn = plan.turn if self.chest_wall == "left" else replace(plan.turn, flip_x=not plan.turn.flip_x)
        item = turn_item(data, turn if plan.is_known else Turn(), self.keys, self.image_key)
        if self.fill_laterality and plan.is_known and not laterality:
            laterality = "R" if plan.turn.is_mirror else "L"
        meta = item[self.image_key].meta
        meta[MetaKey.LATERALITY] = laterality
        if plan.problem:
            self.warn(meta[MetaKey.FILENAME], f"{plan.problem}.")
            add_flag(meta, plan.problem)
        return item


@dataclass(frozen=True)
class TurnPlan:
    """The orientation to apply to an image.

    Attributes:
        turn: puts the chest wall on the left.
        is_known: whether the side of the chest wall could be determined.
        problem: text of a warning for the user without a period, or ''.
    """

    turn: Turn
    is_known: bool = True
    problem: str = ""


def plan_turn(image: Tensor, orientation: str = "", laterality: str = "") -> TurnPlan:
    """Determines the turn that puts the chest wall of a mammogram on the left.

    1. Patient Orientation is used if it distinguishes anterior from posterior. It also covers rotations by 90 and 180
       degrees.
    2. Otherwise, the side of the chest wall is detected in the image.
    3. If the detection is inconclusive, the laterality is used: right breasts have the chest wall on the right.

    If the image clearly contradicts Patient Orientation or laterality, the image takes precedence, because it is what
    the network sees, and the plan contains a warning. Such an image was reflected or rotated after its header was
    written, or its header names the wrong side. The vertical direction is always that of the header.

    Args:
        image: float (1, H, W) in [0, 1], as stored.
        orientation: see `read_patient_orientation`.
        laterality: 'L', 'R' or ''.
    """
    picture = torch.from_numpy(coarse_copy(image))[None]
    turn = turn_of_orientation(orientation, laterality)
    if turn is None:
        return _plan_by_image(_detect_side(picture), {"L": "left", "R": "right"}.get(laterality, ""))
    if _detect_side(turn.apply(picture)) != "right":
        return TurnPlan(turn)
    return TurnPlan(
        replace(turn, flip_x=not turn.flip_x),
        problem="its Patient Orientation and its pixels disagree on where the chest wall lies, and the pixels take "
        "precedence",
    )


def _plan_by_image(seen: Side, expected: str) -> TurnPlan:
    """Plans the turn without Patient Orientation: by the detected chest wall, otherwise by the expected side."""
    if not seen and not expected:
        return TurnPlan(
            Turn(), is_known=False, problem="the side of its chest wall cannot be determined, and it is left unchanged"
        )
    turn = Turn(flip_x=(seen or expected) == "right")
    if not seen or not expected or seen == expected:
        return TurnPlan(turn)
    return TurnPlan(
        turn,
        problem="its laterality and its pixels disagree on where the chest wall lies, and the pixels take precedence: "
        "it may be stored mirrored or upside down, or be labeled with the wrong side",
    )


def _detect_side(picture: Tensor) -> Side:
    """Detects the side of the chest wall on a small copy of an image, (1, h, w)."""
    found = find_coarse_breast(picture)
    return "" if found is None else find_chest_wall(found)
