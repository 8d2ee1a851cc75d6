"""Converter of the Montgomery County chest X-rays: lung masks, and normal or tuberculosis labels.

Source: Jaeger et al., "Two public chest X-ray datasets for computer-aided screening of pulmonary diseases",
Quantitative Imaging in Medicine and Surgery 4 (2014), 475-477,
https://doi.org/10.3978/j.issn.2223-4292.2014.11.20; masks of Candemir et al., IEEE Transactions on Medical Imaging 33
(2014), 577-590, https://doi.org/10.1109/TMI.2013.2290491; files at
https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/Montgomery-County-CXR-Set/MontgomerySet/index.html.
138 images: 80 normal, 58 with tuberculosis.

License: free for research; the National Library of Medicine requests citation of both papers and the source.

Supported releases: NLM's (`CXR_png/MCUCXR_0001_0.png`, `ManualMask/{leftMask,rightMask}/` with the same file names, and
`ClinicalReadings/*.txt`; in `MontgomerySet/` or at any depth) and Kaggle's (`images/`, or both NLM datasets in one
`CXR_png/` with merged `masks/`). Images without masks of both lungs have no `lung`.

- `lung`: the merged masks of left and right lung, which exclude the heart.
- `tuberculosis`: from the last digit of the name; a separate task.
- `finding`: 'normal' according to the reading; not labeled for tuberculosis, which is not a pneumonia of that task.

There is no official split: 70/15/15. Each image is of a different patient.
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
    """Creates the datalist.

    Args:
        folder: dataset folder.
        masks_folder: output folder of the merged masks.

    Returns:
        Datalist with image paths relative to `folder` and absolute mask paths.

    Raises:
        FileNotFoundError: images or masks are missing.
        ValueError: the image folder contains a file with an unexpected name.
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
    """Merges the masks of both lungs; None if one of them is missing or empty."""
    masks = [read_drawn(path) for path in paths if path is not None]
    known = [mask for mask in masks if mask is not None]
    return np.logical_or.reduce(known) if len(known) == len(paths) else None
