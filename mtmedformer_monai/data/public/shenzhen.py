"""Converter of the Shenzhen Hospital chest X-rays: normal or tuberculosis labels, and lung masks on most images.

Source: Jaeger et al., "Two public chest X-ray datasets for computer-aided screening of pulmonary diseases",
Quantitative Imaging in Medicine and Surgery 4 (2014), 475-477,
https://doi.org/10.3978/j.issn.2223-4292.2014.11.20; files at
https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/Shenzhen-Hospital-CXR-Set/index.html. Masks on
566 of the 662: Stirenko et al., "Chest X-ray analysis of tuberculosis by deep learning with segmentation and
augmentation", ELNANO 2018, 422-428, https://arxiv.org/abs/1803.01199; files at
https://www.kaggle.com/datasets/yoctoman/shcxr-lung-mask.

License: images free for research, the National Library of Medicine requests citation of the papers and the source; for
the masks, see their page.

Supported releases: NLM's (`CXR_png/CHNCXR_0001_0.png` and `ClinicalReadings/*.txt`, in `ChinaSet_AllFiles/` or at any
depth) and Kaggle's (`images/`, or both NLM datasets in one `CXR_png/`), with the masks `CHNCXR_0001_0_mask.png` in any
folder `mask/` or `masks/`. Images without a mask have no `lung`.

- `lung`: both lungs, excluding the heart.
- `tuberculosis`: from the last digit of the name; a separate task.
- `finding`: 'normal' according to the reading; not labeled for tuberculosis, which is not a pneumonia of that task.

There is no official split: 70/15/15. Each image is of a different patient.
"""

from __future__ import annotations

from pathlib import Path

from mtmedformer_monai.data.datalist import Datalist
from mtmedformer_monai.data.split import split_by_patient

from .drawn_masks import read_drawn
from .nlm_chest import find_radiographs, make_item, read_readings
from .set_files import PICTURES, SetFolder, place_of, show_progress

SUFFIX = "_mask"
RELEASE = "CXR_png/ and ClinicalReadings/ of NLM's ChinaSet_AllFiles, and mask/*_mask.png of Kaggle"


def convert(folder: Path) -> Datalist:
    """Creates the datalist.

    Args:
        folder: dataset folder.

    Returns:
        Datalist with paths relative to `folder`.

    Raises:
        FileNotFoundError: the images are missing.
        ValueError: the image folder contains a file with an unexpected name.
    """
    files = SetFolder(folder, RELEASE)
    images, readings = find_radiographs(files, "CHNCXR"), read_readings(files)
    drawn = files.find(rf"(^|/)CHNCXR_\d+_[01]{SUFFIX}$", PICTURES)
    found = {path.stem.removesuffix(SUFFIX): path for path in reversed(drawn)}
    items = []
    for image in show_progress(images, "Masks", "image"):
        mask = found.get(image.stem)
        masks = {"lung": place_of(mask, folder)} if mask and read_drawn(mask) is not None else {}
        items.append(make_item(image, folder, masks, readings))
    return {"name": "shenzhen", "licence": "NLM: free, cite", **split_by_patient(items, stratify_on="tuberculosis")}
