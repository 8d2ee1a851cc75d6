"""`LoadRadiographd`: a path in the item becomes the radiograph."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from numpy.typing import NDArray

from mtmedformer_monai.keys import MetaKey

from .geometry import index_affine
from .read_dicom import MODALITIES
from .reading import read_radiograph


class LoadRadiographd(MapTransform):
    """Reads radiographs: float32 MetaTensor (1, H, W) in [0, 1], row 0 superior, brighter is denser.

    `.meta` holds the keys of `keys.MetaKey`, and the affine that MONAI keeps; nothing that names a person.

    Args:
        keys: keys of paths (str, Path).
        modalities: DICOM modalities that are admitted; None or 'any' admits all.
        voi_index: which of a DICOM header's VOI LUTs or windows; 0 is the maker's default.
        allow_missing_keys: leave an item without the key as it is.

    Raises:
        RadiographError: the file cannot or must not be read. Inside MONAI's Compose it is the cause of a RuntimeError.
        TypeError: the item holds no path.
    """

    def __init__(
        self,
        keys: KeysCollection,
        modalities: Collection[str] | Literal["any"] | None = MODALITIES,
        voi_index: int = 0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if isinstance(modalities, str) and modalities != "any":
            raise ValueError(f"modalities expects a list such as ['DX', 'CR'], 'any' or None, got {modalities!r}.")
        if voi_index < 0:
            raise ValueError(f"voi_index expects 0 or more, got {voi_index}.")
        self.modalities = modalities
        self.voi_index = voi_index

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with every path read."""
        item = dict(data)
        for key in self.key_iterator(item):
            image, meta = read_radiograph(_as_path(item[key], key), self.modalities, self.voi_index)
            item[key] = make_meta_tensor(image, meta)
        return item


def make_meta_tensor(image: NDArray[np.float32], meta: Mapping[str, Any]) -> MetaTensor:
    """What `read_radiograph` gives, as MONAI's transforms take it: (H, W) to MetaTensor (1, H, W)."""
    affine = torch.from_numpy(index_affine(meta[MetaKey.TO_SOURCE], meta[MetaKey.SPACING_MM]))
    tensor = torch.from_numpy(image)[None]
    return MetaTensor(tensor, affine=affine, meta={**meta, "original_affine": affine.clone()})


def _as_path(value: Any, key: Hashable) -> str | Path:
    """The path of an item; a list of one is what some readers of datalists make."""
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, (str, Path)):
        return value
    raise TypeError(
        f"LoadRadiographd expects a path under {key!r}, got {type(value).__name__}; "
        "take the transform out if the image was loaded before."
    )
