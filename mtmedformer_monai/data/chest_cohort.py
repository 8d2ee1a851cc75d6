"""A cohort of synthetic chest X-rays: DX DICOM files with masks, boxes and labels, and its datalist.

Everything follows from the seed: two calls with equal arguments write equal files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from mtmedformer_monai.data.chest_opacities import Disease, bacterial, healthy, viral
from mtmedformer_monai.data.chest_phantom import Patient, draw_patient, make_grid, make_lungs, render_anatomy
from mtmedformer_monai.data.datalist import Item, save_datalist
from mtmedformer_monai.data.scanner_look import SCANNERS, Scanner, add_border_and_marker, expose
from mtmedformer_monai.data.split import split_by_patient
from mtmedformer_monai.data.write_dx import DXHeader, write_dx
from mtmedformer_monai.keys import BOXES, IMAGE, LABELS, MASKS, PATIENT_ID, SITE

FRACTIONS = {"training": 0.65, "validation": 0.15, "test": 0.2}
DISEASES = {"normal": healthy, "bacterial": bacterial, "viral": viral}
SECOND_IMAGE = 0.1
"""Share of patients who come back for another image."""

PARTS = ("lung", "opacity", "opacity_box", "finding", "pneumonia_type")
"""What an image can be annotated with: names of the chest bundle's tasks."""


def make_chest_cohort(
    folder: str | Path,
    num_patients: int = 300,
    image_size: int = 256,
    seed: int = 0,
    scanners: Sequence[Scanner] = SCANNERS,
    disease_shares: Mapping[str, float] | None = None,
    annotated: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Makes a cohort in a folder.

    Args:
        folder: gets `images/`, `masks/` and `datalist.json`.
        num_patients: about a tenth have two images; splits are by patient.
        image_size: columns of an image; rows follow from the scanner's aspect.
        seed: of everything.
        scanners: one a site; patients go to them in turn.
        disease_shares: {'normal', 'bacterial', 'viral': share}; 4 : 3 : 3 by default.
        annotated: {site: parts out of `PARTS`}; sites that are not named carry all parts.

    Returns:
        Path of the datalist.

    Raises:
        ValueError: too few patients for three splits, or an unknown part or disease.
    """
    folder = Path(folder)
    shares = dict(disease_shares or {"normal": 0.4, "bacterial": 0.3, "viral": 0.3})
    _check(num_patients, shares, annotated or {})
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(exist_ok=True)
    items: list[Item] = []
    for number in tqdm(range(num_patients), desc="Cohort", unit="patient", mininterval=2.0):
        scanner = scanners[number % len(scanners)]
        rng = np.random.default_rng([seed, number])
        parts = (annotated or {}).get(scanner.name, PARTS)
        items += _make_patient(folder, f"synthetic-{seed}-{number:05d}", scanner, image_size, shares, rng, parts)
    sections = split_by_patient(items, FRACTIONS, seed=seed, stratify_on="finding")
    about = {"name": "synthetic_chest", "description": "Synthetic chest X-rays", "licence": "Apache-2.0", "seed": seed}
    return save_datalist(about | sections, folder / "datalist.json")


def _make_patient(
    folder: Path,
    patient_id: str,
    scanner: Scanner,
    image_size: int,
    shares: Mapping[str, float],
    rng: np.random.Generator,
    parts: Sequence[str],
) -> list[Item]:
    """One image or two of one patient."""
    patient = draw_patient(rng)
    disease = str(rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values())))
    count = 2 if rng.random() < SECOND_IMAGE else 1
    age = int(rng.integers(1, 14)) if patient.is_child else int(rng.integers(18, 90))
    shape = (round(image_size * scanner.aspect), image_size)
    items = []
    for index in range(count):
        name = f"{patient_id}-{index}"
        image, masks, found = render_chest(shape, patient, disease, scanner, rng)
        header = DXHeader(
            patient_id,
            "F" if patient.is_female else "M",
            age,
            scanner.view,
            scanner.photometric,
            scanner.bits_stored,
            scanner.spacing_mm * 256 / image_size,
            scanner.name,
            bool(rng.random() < 0.25),
            f"{name}-{image_size}",
        )
        write_dx(folder / "images" / f"{name}.dcm", image, header)
        items.append(_item(folder, name, patient_id, scanner, disease, masks, found, parts))
    return items


def render_chest(
    shape: tuple[int, int], patient: Patient, disease: str, scanner: Scanner, rng: np.random.Generator
) -> tuple[Any, dict[str, Any], Disease]:
    """Renders one image.

    Returns:
        float32 (H, W) in [0, 1]; {'lung', 'opacity': bool (H, W)}; and the disease with its boxes.
    """
    x, y = make_grid(shape, patient)
    lungs = make_lungs(x, y, patient, rng)
    anatomy = render_anatomy(x, y, patient, lungs, rng)
    found = healthy(shape) if disease == "normal" else DISEASES[disease](x, y, lungs, rng)  # type: ignore[operator]
    image = add_border_and_marker(expose(anatomy + found.attenuation, scanner, rng), scanner, rng)
    return image, {"lung": lungs.mask, "opacity": found.mask}, found


def _item(
    folder: Path,
    name: str,
    patient_id: str,
    scanner: Scanner,
    disease: str,
    masks: Mapping[str, Any],
    found: Disease,
    parts: Sequence[str],
) -> Item:
    item: Item = {IMAGE: f"images/{name}.dcm", PATIENT_ID: patient_id, SITE: scanner.name}
    for structure in (structure for structure in masks if structure in parts):
        path = f"masks/{name}_{structure}.png"
        Image.fromarray(masks[structure].astype(np.uint8) * 255).save(folder / path)
        item.setdefault(MASKS, {})[structure] = path
    if "opacity_box" in parts:
        item[BOXES] = {"opacity": found.boxes}
    if "finding" in parts:
        item.setdefault(LABELS, {})["finding"] = "normal" if disease == "normal" else "pneumonia"
    if "pneumonia_type" in parts and disease != "normal":
        item.setdefault(LABELS, {})["pneumonia_type"] = disease
    return item


def _check(num_patients: int, shares: Mapping[str, float], annotated: Mapping[str, Sequence[str]]) -> None:
    if num_patients < 8:
        raise ValueError(f"num_patients expects 8 or more, to be split three ways, got {num_patients}.")
    if set(shares) - set(DISEASES):
        raise ValueError(f"disease_shares expects names out of {sorted(DISEASES)}, got {sorted(shares)}.")
    unknown = {part for parts in annotated.values() for part in parts} - set(PARTS)
    if unknown:
        raise ValueError(f"annotated expects parts out of {PARTS}, got {sorted(unknown)}.")
