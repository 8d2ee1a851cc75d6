"""Converter of the Montgomery County chest X-rays: lung masks, normal or tuberculosis.

Source: Jaeger et al., "Two public chest X-ray datasets for computer-aided screening of pulmonary diseases",
Quantitative Imaging in Medicine and Surgery 4 (2014), 475-477,
https://doi.org/10.3978/j.issn.2223-4292.2014.11.20; masks of Candemir et al., IEEE Transactions on Medical Imaging 33
(2014), 577-590, https://doi.org/10.1109/TMI.2013.2290491; files at
https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/Montgomery-County-CXR-Set/MontgomerySet/index.html.
138 images: 80 normal, 58 with tuberculosis.

License: free for research; the National Library of Medicine asks for both papers to be cited and the source named.

Releases that are known: NLM's (`CXR_png/MCUCXR_0001_0.png`, `ManualMask/{leftMask,rightMask}/` under the same names,
`ClinicalReadings/*.txt`; in `MontgomerySet/` or elsewhere below the folder) and Kaggle's (`images/`, or both NLM sets
in one `CXR_png/` with merged `masks/`). An image without both lungs has no `lung`.

- `lung`: left and right masks merged. They spare the heart.
- `tuberculosis`: by the last digit of the name; a task of its own.
- `finding`: 'normal' where the reading says so; tuberculosis has none, being no pneumonia of that task.

There is no official split: 70 / 15 / 15. Each image is another patient's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mtmedformer_monai.data.array_types import Mask
from mtmedformer_monai.data.datalist import Datalist
from mtmedformer_monai.data.split import split_by_patient

from .drawn_masks import read_drawn, save_mask
from .nlm_chest import find_radiographs, make_item, read_readings
from .set_files import PICTURES, SetFolder, show_progress

SIDES = ("left", "right")
RELEASE = "CXR_png/, ManualMask/{leftMask,rightMask}/ and ClinicalReadings/ of NLM's MontgomerySet"


def convert(folder: Path, masks_folder: Path) -> Datalist:
    """Makes the datalist.

    Args:
        folder: of the set.
        masks_folder: where the merged masks go.

    Returns:
        Datalist with paths relative to `folder`, and absolute ones of the masks.

    Raises:
        FileNotFoundError: images or masks are missing.
        ValueError: a file of another name lies among the images.
    """
    files = SetFolder(folder, RELEASE)
    images, readings = find_radiographs(files, "MCUCXR"), read_readings(files)
    sides = [files.by_stem(rf"(^|/){side}_?mask[^/]*/[^/]+$", PICTURES) for side in SIDES]
    merged = files.by_stem(r"(^|/)masks?/MCUCXR[^/]*$", PICTURES)
    if not merged and not all(sides):
        raise files.lacks("ManualMask/leftMask/ and ManualMask/rightMask/")
    items = []
    for image in show_progress(images, "Masks", "image"):
        drawn = [found.get(image.stem) for found in sides]
        if not any(drawn):
            drawn = [merged.get(image.stem) or merged.get(f"{image.stem}_mask")]
        lungs = _merge_masks(drawn)
        masks = {} if lungs is None else {"lung": str(save_mask(lungs, masks_folder / f"{image.stem}.png").resolve())}
        items.append(make_item(image, folder, masks, readings))
    return {"name": "montgomery", "licence": "NLM: free, cite", **split_by_patient(items, stratify_on="tuberculosis")}


def _merge_masks(paths: list[Path | None]) -> Mask | None:
    """Both lungs in one mask; None where one of the two is missing, or shows nothing."""
    masks = [read_drawn(path) for path in paths if path is not None]
    known = [mask for mask in masks if mask is not None]
    return np.logical_or.reduce(known) if len(known) == len(paths) else None
