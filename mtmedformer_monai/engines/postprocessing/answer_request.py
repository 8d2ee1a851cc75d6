"""`AnswerRequestd`: prepares the label map for the response of a MONAI Label server."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform
from torch import Tensor

from mtmedformer_monai.keys import IMAGE, PRED
from mtmedformer_monai.transforms.read_nifti import read_nifti_grid
from mtmedformer_monai.transforms.reading import sniff
from mtmedformer_monai.transforms.request_errors import REQUEST_KEY

EXTENSION_KEY = "result_extension"
"""Key with which a MONAI Label client or a transform selects the file type of the response."""


class AnswerRequestd(Transform):
    """Reorients the label map to match the client's image file; the last transform of the postprocessing.

    MONAI Label 0.8.5 writes `pred`, columns first, to a file of the image's type. This is correct for PNG and DICOM. A
    NIfTI response gets the voxel order of the image file and, if the file has three axes, its affine, so that viewers
    overlay the two correctly. Lossy JPEG compression would corrupt labels, so the response to a JPEG image is a PNG
    file unless the client requests another type.

    Items that do not belong to a MONAI Label request are returned unchanged.

    Args:
        pred_key: key of the label map, uint8 (W, H).
        image_key: key of the image, a MetaTensor.
    """

    def __init__(self, pred_key: str = PRED, image_key: str = IMAGE) -> None:
        self.pred_key = pred_key
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item with `pred` (W, H), or (1, X, Y, 1) for a NIfTI file with three axes."""
        item: dict[Any, Any] = dict(data)
        path = Path(str(item.get(REQUEST_KEY) or ""))
        if not path.is_file():
            return item
        kind = sniff(path)
        if kind == "nifti":
            self._lay_as_nifti(item, path)
        elif kind == "picture" and path.suffix.lower() in {".jpg", ".jpeg"}:
            item[EXTENSION_KEY] = item.get(EXTENSION_KEY) or ".png"
        return item

    def _lay_as_nifti(self, item: dict[Any, Any], path: Path) -> None:
        grid = read_nifti_grid(path)
        numbers: Tensor = item[self.pred_key]
        voxels = torch.from_numpy(grid.lay(np.ascontiguousarray(numbers.numpy().T)))
        if len(grid.shape) == 2 and grid.is_axial:
            item[self.pred_key] = voxels
            return
        item[self.pred_key] = voxels[None, :, :, None]
        item[self.image_key].meta["original_affine"] = torch.from_numpy(grid.affine)
