"""Converter of the Montgomery County chest X-rays: lung masks, normal or tuberculosis.

Source: Jaeger et al., "Two public chest X-ray datasets for computer-aided screening of pulmonary diseases",
Quantitative Imaging in Medicine and Surgery 4 (2014), 475-477,
https://doi.org/10.3978/j.issn.2223-4292.2014.11.20; masks of Candemir et al., IEEE Transactions on Medical Imaging 33
(2014), 577-590, https://doi.org/10.1109/TMI.2013.2290491; files at
https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/Montgomery-County-CXR-Set/MontgomerySet/index.html.
138 images: 80 normal, 58 with tuberculosis.

Licence: free for research; the National Library of Medicine asks for both papers to be cited and the source named.

Layout (NLM's): `CXR_png/MCUCXR_0001_0.png`, `ManualMask/{leftMask,rightMask}/` under the same names,
`ClinicalReadings/*.txt`; all in `MontgomerySet/` too.

- `lung`: left and right masks merged. They spare the heart.
- `tuberculosis`: by the last digit of the name; a task of its own.
- `finding`: 'normal' where the reading says so; tuberculosis has none, being no pneumonia of that task.

There is no official split: 70 / 15 / 15. Each image is another patient's.
"""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from mtmedformer_monai.data.datalist import Datalist
from mtmedformer_monai.data.split import split_by_patient
from mtmedformer_monai.transforms.read_mask import read_mask

from .drawn_masks import save_mask
from .nlm_chest import make_item
from .set_files import find_root, index_files

SIDES = ("leftMask", "rightMask")


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
    root = find_root(folder, "ManualMask", "MontgomerySet", "NLM-MontgomeryCXRSet/MontgomerySet")
    items = []
    for image in tqdm(index_files(root, "CXR_png/*.png").values(), desc="Masks", unit="image", mininterval=2.0):
        output = masks_folder / image.name
        items.append(make_item(image, folder, _merge_masks(root / "ManualMask", image.name, output)))
    return {"name": "montgomery", "licence": "NLM: free, cite", **split_by_patient(items, stratify_on="tuberculosis")}


def _merge_masks(folder: Path, name: str, output: Path) -> dict[str, str]:
    """Both lungs in one file; nothing where one of the two is missing."""
    sides = [folder / side / name for side in SIDES]
    if not all(side.is_file() for side in sides):
        return {}
    left, right = (read_mask(side) for side in sides)
    return {"lung": str(save_mask(left | right, output).resolve())}
