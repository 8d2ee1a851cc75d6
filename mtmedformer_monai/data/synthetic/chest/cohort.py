"""Generates a cohort of synthetic chest X-rays: DX DICOM files with masks, boxes and labels, and a datalist.

The generator is deterministic: calls with equal arguments write identical files, for any number of processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mtmedformer_monai.data.array_types import Field, Mask
from mtmedformer_monai.data.datalist import Item
from mtmedformer_monai.data.split import split_by_patient
from mtmedformer_monai.data.synthetic.cohort_files import (
    FRACTIONS,
    check_annotated,
    check_shares,
    check_size,
    count_workers,
    draw_from,
    write_cohort,
)
from mtmedformer_monai.data.synthetic.dicom.write_dx import DXHeader, write_dx
from mtmedformer_monai.keys import BOXES, IMAGE, LABELS, MASKS, PATIENT_ID, SITE

from .opacities import Disease, healthy
from .phantom import Patient, make_grid
from .scanner_appearance import SCANNERS, Scanner, add_border_and_marker, expose
from .styles import STYLES, Style

SHARES = {"normal": 0.4, "bacterial": 0.3, "viral": 0.3}
SECOND_IMAGE = 0.1
"""Fraction of patients with a second image."""

PARTS = ("lung", "opacity", "opacity_box", "finding", "pneumonia_type")
"""Available annotations of an image, named after the tasks of the chest bundle."""


@dataclass(frozen=True)
class _Plan:
    """Settings shared by all patients of a cohort."""

    folder: Path
    image_size: int
    seed: int
    scanners: tuple[Scanner, ...]
    shares: Mapping[str, float]
    annotated: Mapping[str, Sequence[str]]
    style: str


@dataclass(frozen=True)
class _Case:
    """One patient with disease and scanner."""

    patient_id: str
    patient: Patient
    age_years: int
    disease: str
    scanner: Scanner


def make_chest_cohort(
    folder: str | Path,
    num_patients: int = 300,
    image_size: int = 256,
    seed: int = 0,
    scanners: Sequence[Scanner] = SCANNERS,
    disease_shares: Mapping[str, float] | None = None,
    annotated: Mapping[str, Sequence[str]] | None = None,
    workers: int | None = None,
    style: str = "plain",
) -> Path:
    """Generates a cohort in a folder. The datalist is written last, so an interrupted call leaves no datalist.

    Args:
        folder: output folder of `images/`, `masks/` and `datalist.json`.
        num_patients: number of patients; about a tenth have two images. The sections are split by patient.
        image_size: columns of an image; the rows follow from the scanner's aspect ratio.
        seed: random seed.
        scanners: one scanner per site; patients are assigned to them in turn.
        disease_shares: {'normal', 'bacterial', 'viral': share}; 4:3:3 by default.
        annotated: {site: subset of `PARTS`}; sites that are not listed have all annotations.
        workers: number of rendering processes, by default one per CPU core; 1 renders in the current process. The files
            do not depend on it.
        style: how chests are drawn, one of `STYLES`.

    Returns:
        Path of the datalist.

    Raises:
        ValueError: there are too few patients for three sections, too small images, no worker, or an unknown part,
            site, disease or style.
        RuntimeError: pydicom is older than 3.
    """
    folder, workers = Path(folder), count_workers(workers)
    if style not in STYLES:
        raise ValueError(f"style expects one of {sorted(STYLES)}, got {style!r}.")
    shares, parts = dict(disease_shares or SHARES), dict(annotated or {})
    plan = _Plan(folder, image_size, seed, tuple(scanners), shares, parts, style)
    check_size(num_patients, image_size, workers)
    check_shares("disease_shares", plan.shares, ["normal", *STYLES[style].opacities])
    check_annotated(plan.annotated, [scanner.name for scanner in plan.scanners], PARTS)
    about = {"name": "synthetic_chest", "description": "Synthetic chest X-rays", "licence": "Apache-2.0", "seed": seed}
    about |= {} if style == "plain" else {"name": f"synthetic_chest_{style}"}
    return write_cohort(folder, partial(_make_patient, plan), num_patients, workers, partial(_split, seed), about)


def _split(seed: int, items: list[Item]) -> dict[str, list[Item]]:
    """Splits the items by patient, stratified on `finding` if any site annotates it."""
    labeled = any("finding" in item.get(LABELS, {}) for item in items)
    return split_by_patient(items, FRACTIONS, seed=seed, stratify_on="finding" if labeled else None)


def _make_patient(plan: _Plan, number: int) -> list[Item]:
    """Generates one or two images of a patient from the patient's own random number generator."""
    rng = np.random.default_rng([plan.seed, number])
    patient = STYLES[plan.style].draw_patient(rng)
    disease = draw_from(plan.shares, rng)
    count = 2 if rng.random() < SECOND_IMAGE else 1
    age = int(rng.integers(1, 14)) if patient.is_child else int(rng.integers(18, 90))
    scanner = plan.scanners[number % len(plan.scanners)]
    case = _Case(f"synthetic-{plan.seed}-{number:05d}", patient, age, disease, scanner)
    return [_make_image(plan, case, f"{case.patient_id}-{index}", rng) for index in range(count)]


def _make_image(plan: _Plan, case: _Case, name: str, rng: np.random.Generator) -> Item:
    """Renders and writes one image with its masks, and returns the datalist item."""
    style = STYLES[plan.style]
    shape = (round(plan.image_size * case.scanner.aspect * style.draw_aspect(rng)), plan.image_size)
    image, masks, found = render_chest(shape, case.patient, case.disease, case.scanner, rng, style)
    header = _header(case, name, plan.image_size, compress=bool(rng.random() < 0.25))
    write_dx(plan.folder / "images" / f"{name}.dcm", image, header)
    item: Item = {IMAGE: f"images/{name}.dcm", PATIENT_ID: case.patient_id, SITE: case.scanner.name}
    parts = plan.annotated.get(case.scanner.name, PARTS)
    for structure in (structure for structure in masks if structure in parts):
        path = f"masks/{name}_{structure}.png"
        Image.fromarray(masks[structure].astype(np.uint8) * 255).save(plan.folder / path)
        item.setdefault(MASKS, {})[structure] = path
    if "opacity_box" in parts:
        item[BOXES] = {"opacity": found.boxes}
    is_ill = case.disease != "normal"
    labels = {"finding": "pneumonia" if is_ill else "normal"} | ({"pneumonia_type": case.disease} if is_ill else {})
    labels = {task: label for task, label in labels.items() if task in parts}
    return item | ({LABELS: labels} if labels else {})


def render_chest(
    shape: tuple[int, int],
    patient: Patient,
    disease: str,
    scanner: Scanner,
    rng: np.random.Generator,
    style: Style = STYLES["plain"],
) -> tuple[Field, dict[str, Mask], Disease]:
    """Renders one image.

    Returns:
        Image, float32 (H, W) in [0, 1]; masks, {'lung', 'opacity': bool (H, W)}; and the disease with its boxes.
    """
    x, y = make_grid(shape, patient)
    lungs, anatomy = style.make_chest(x, y, patient, rng)
    found = style.opacities[disease](x, y, lungs, rng) if disease in style.opacities else healthy(shape)
    exposed = style.process(expose(anatomy + found.attenuation, scanner, rng), rng)
    image = add_border_and_marker(exposed, scanner, rng)
    return image, {"lung": lungs.mask, "opacity": found.mask}, found


def _header(case: _Case, name: str, image_size: int, compress: bool) -> DXHeader:
    """Returns the header of a file; the scanner's pixel spacing is defined at 256 columns."""
    return DXHeader(
        patient_id=case.patient_id,
        sex="F" if case.patient.is_female else "M",
        age_years=case.age_years,
        view=case.scanner.view,
        photometric=case.scanner.photometric,
        bits_stored=case.scanner.bits_stored,
        spacing_mm=case.scanner.spacing_mm * 256 / image_size,
        station=case.scanner.name,
        compress=compress,
        uid_entropy=f"{name}-{image_size}",
    )
