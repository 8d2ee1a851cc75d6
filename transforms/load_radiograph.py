"""`LoadRadiographd`: replaces the path in an item with the loaded radiograph."""

from __future__ import annotations

import logging
from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from numpy.typing import NDArray

from mtmedformer_monai.keys import LATERALITY, VIEW, MetaKey

from .dicom.admission import AdmissionRules
from .dicom.for_processing import ForProcessing, check_for_processing
from .dicom.mammogram_rules import as_rules
from .dicom.read import MODALITIES
from .geometry.affine import index_affine
from .reading import read_radiograph
from .request_errors import answer_request
from .view_names import normalize_laterality, normalize_view
from .warn_once import WarnOnce


class LoadRadiographd(MapTransform):
    """Reads radiographs as float32 MetaTensors (1, H, W) in [0, 1]; row 0 is superior, brighter is denser.

    `.meta` contains the keys of `keys.MetaKey` and the affine of MONAI, and nothing that identifies a person. The
    laterality and view come from the header or, if it does not give them, from `laterality` and `view` in the item.

    Args:
        keys: keys of paths (str, Path).
        modalities: admitted DICOM modalities; None or 'any' admits all.
        voi_index: index of the VOI LUT or window in the DICOM header; 0 is the manufacturer's default.
        allow_missing_keys: whether to skip keys that the item lacks.
        for_processing: 'render' renders FOR PROCESSING images (the values measured by the detector) as for
            presentation, 'refuse' raises an error, and 'raw' stretches the measured values.
        rules: which kinds of images are admitted: `ChestRules` (frontal chest radiographs), `MammogramRules`, or a dict
            of attributes of the latter such as {"implants": "refuse"}. None means `MammogramRules()`.

    Raises:
        RadiographError: the file cannot be read, or it is refused. Inside MONAI's Compose, it is the cause of a
            RuntimeError; inside a request to the MONAI Label server, it becomes an HTTP response with its message.
        TypeError: the item does not contain a path.
    """

    def __init__(
        self,
        keys: KeysCollection,
        modalities: Collection[str] | Literal["any"] | None = MODALITIES,
        voi_index: int = 0,
        allow_missing_keys: bool = False,
        for_processing: ForProcessing = "render",
        rules: AdmissionRules | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if isinstance(modalities, str) and modalities != "any":
            raise ValueError(f"modalities expects a list such as ['DX', 'CR'], 'any' or None, got {modalities!r}.")
        if voi_index < 0:
            raise ValueError(f"voi_index expects 0 or more, got {voi_index}.")
        check_for_processing(for_processing)
        self.modalities = modalities
        self.voi_index = voi_index
        self.for_processing = for_processing
        self.rules = as_rules(rules)
        self.warn = WarnOnce(logging.getLogger(__name__))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with every path replaced by the radiograph."""
        item = dict(data)
        for key in self.key_iterator(item):
            path = _as_path(item[key], key)
            with answer_request(item):
                image, meta = read_radiograph(path, self.modalities, self.voi_index, self.for_processing, self.rules)
            item[key] = make_meta_tensor(image, self._with_facts_of(item, meta))
        return item

    def _with_facts_of(self, item: Mapping[Any, Any], meta: dict[str, Any]) -> dict[str, Any]:
        """Fills in the laterality and view from the item if the header does not give them."""
        side = normalize_laterality(item.get(LATERALITY))
        if side and meta[MetaKey.LATERALITY] and side != meta[MetaKey.LATERALITY]:
            self.warn(
                meta[MetaKey.FILENAME], "its header and the datalist name different sides; the header takes precedence."
            )
        filled = {
            MetaKey.LATERALITY: meta[MetaKey.LATERALITY] or side,
            MetaKey.VIEW: meta[MetaKey.VIEW] or normalize_view(item.get(VIEW)),
        }
        return {**meta, **filled}


def make_meta_tensor(image: NDArray[np.float32], meta: Mapping[str, Any]) -> MetaTensor:
    """Converts the image (H, W) and metadata from `read_radiograph` to a MetaTensor (1, H, W)."""
    affine = torch.from_numpy(index_affine(meta[MetaKey.TO_SOURCE], meta[MetaKey.SPACING_MM]))
    tensor = torch.from_numpy(image)[None]
    return MetaTensor(tensor, affine=affine, meta={**meta, "original_affine": affine.clone()})


def _as_path(value: Any, key: Hashable) -> str | Path:
    """Returns the path in an item, which some datalist readers wrap in a list of length 1."""
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, (str, Path)):
        return value
    raise TypeError(
        f"LoadRadiographd expects a path under {key!r}, got {type(value).__name__}; "
        "remove the transform if the image is already loaded."
    )
