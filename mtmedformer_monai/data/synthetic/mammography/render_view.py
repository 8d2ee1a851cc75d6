"""Renders one view of a synthetic breast as stored by a device, with the masks of its lesions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtmedformer_monai.data.array_types import Mask

from .appearance import Appearance
from .breast_attenuation import attenuate
from .breast_shape import project
from .burned_in_annotation import burn_in_annotation
from .lesion_appearance import hide
from .scanner import MammographyScanner
from .study import Side
from .styles import Style


@dataclass(frozen=True)
class Mammogram:
    """One image in its stored orientation.

    Attributes:
        side: the breast.
        view: 'CC' or 'MLO'.
        appearance: the rendered image.
        breast: mask of the breast.
        lesions: one mask per lesion, in the order of the side's lesions.
        spacing_mm: pixel spacing in the plane of the patient.
    """

    side: Side
    view: str
    appearance: Appearance
    breast: Mask
    lesions: Sequence[Mask]
    spacing_mm: float


def render_view(
    side: Side, view: str, scanner: MammographyScanner, image_size: int, style: Style, rng: np.random.Generator
) -> Mammogram:
    """Renders one image with `image_size` rows."""
    shape = (image_size, round(image_size / scanner.receptor.aspect))
    spacing_mm = scanner.receptor.field_mm / image_size
    projection = project(side.breast, view, shape, spacing_mm, rng)
    share = hide(projection, style.healthy_share(projection, rng), side.lesions, rng)
    attenuation, masks = attenuate(projection, share, rng), []
    for lesion in side.lesions:
        added, mask = style.render_lesion(projection, lesion, share)
        attenuation = np.clip(attenuation + added, 0.0, None)
        masks.append(style.outline(mask, projection.mask, scanner.is_film, rng))
    appearance = style.take_image(projection, attenuation, scanner, rng)
    image = Mammogram(side, view, appearance, projection.mask, masks, spacing_mm)
    return _hang(image, scanner)


def _hang(image: Mammogram, scanner: MammographyScanner) -> Mammogram:
    """Moves the chest wall of right breasts to the right, burns in the annotation, and mirrors if the device does."""
    is_right = image.side.laterality == "R"
    values, breast = _flip(image.appearance.values, is_right), _flip(image.breast, is_right)
    if not scanner.is_raw:
        text = f"{image.side.laterality} {image.view}"
        values = burn_in_annotation(values, breast, text, chest_wall_left=not is_right, is_sticker=scanner.is_film)
    appearance = replace(image.appearance, values=np.ascontiguousarray(_flip(values, scanner.is_mirrored)))
    masks = [_flip(mask, is_right != scanner.is_mirrored) for mask in image.lesions]
    return replace(image, appearance=appearance, breast=_flip(breast, scanner.is_mirrored), lesions=masks)


def _flip(values: NDArray[Any], mirror: bool) -> NDArray[Any]:
    return values[:, ::-1] if mirror else values
