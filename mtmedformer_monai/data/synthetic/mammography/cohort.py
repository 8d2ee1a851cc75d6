"""Generates a cohort of synthetic mammograms: MG DICOM files with masks, boxes and labels, and a datalist.

The generator is deterministic: calls with equal arguments write identical files, for any number of processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mtmedformer_monai.data.datalist import Item
from mtmedformer_monai.data.mask_boxes import box_of_mask
from mtmedformer_monai.data.split import split_by_patient
from mtmedformer_monai.data.synthetic.cohort_files import (
    FRACTIONS,
    check_annotated,
    check_shares,
    check_size,
    count_workers,
    write_cohort,
)
from mtmedformer_monai.data.synthetic.dicom.dicom_object import Subject
from mtmedformer_monai.data.synthetic.dicom.write_mg import MGHeader, write_mg
from mtmedformer_monai.keys import BOXES, IMAGE, LABELS, LATERALITY, MASKS, PATIENT_ID, SITE, STUDY_ID, VIEW

from .lesions import PATHOLOGIES
from .render_view import Mammogram, render_view
from .scanner import MAMMOGRAPHY_SCANNERS, MammographyScanner
from .study import draw_study
from .styles import STYLES

SHARES = {"normal": 0.25, "benign": 0.375, "malignant": 0.375}
PARTS = ("lesion", "lesion_box", "pathology", "breast_density")
"""Available annotations of an image, named after the tasks of the mammography bundle."""

ABOUT: Item = {"name": "synthetic_mammography", "description": "Synthetic mammograms", "licence": "Apache-2.0"}
_WORST = "worst_pathology"
"""Temporary key of an item, removed by the split."""


@dataclass(frozen=True)
class _Plan:
    """Settings shared by all patients of a cohort."""

    folder: Path
    image_size: int
    seed: int
    scanners: tuple[MammographyScanner, ...]
    shares: Mapping[str, float]
    annotated: Mapping[str, Sequence[str]]
    style: str


def make_mammography_cohort(
    folder: str | Path,
    num_patients: int = 150,
    image_size: int = 512,
    seed: int = 0,
    scanners: Sequence[MammographyScanner] = MAMMOGRAPHY_SCANNERS,
    pathology_shares: Mapping[str, float] | None = None,
    annotated: Mapping[str, Sequence[str]] | None = None,
    workers: int | None = None,
    style: str = "plain",
) -> Path:
    """Generates a cohort in a folder. The datalist is written last, so an interrupted call leaves no datalist.

    Args:
        folder: output folder of `images/`, `masks/` and `datalist.json`.
        num_patients: number of patients, each with one study of three or four views. The sections are split by patient.
        image_size: rows of an image (its longer side); the columns follow from the scanner's aspect ratio.
        seed: random seed.
        scanners: one scanner per site; patients are assigned to them in turn.
        pathology_shares: {'normal', 'benign', 'malignant': share of patients whose worse breast has this pathology};
            2:3:3 by default.
        annotated: {site: subset of `PARTS`}; sites that are not listed have all annotations.
        workers: number of rendering processes, by default one per CPU core; 1 renders in the current process. The files
            do not depend on it.
        style: how breasts are drawn, one of `STYLES`.

    Returns:
        Path of the datalist. The labels of a breast are repeated for each of its images.

    Raises:
        ValueError: there are too few patients for three sections, too small images, no worker, or an unknown part,
            site, pathology or style.
        RuntimeError: pydicom is older than 3.
    """
    if style not in STYLES:
        raise ValueError(f"style expects one of {sorted(STYLES)}, got {style!r}.")
    folder, workers = Path(folder), count_workers(workers)
    shares = dict(pathology_shares or SHARES)
    plan = _Plan(folder, image_size, seed, tuple(scanners), shares, dict(annotated or {}), style)
    check_size(num_patients, image_size, workers)
    check_shares("pathology_shares", shares, PATHOLOGIES)
    check_annotated(plan.annotated, [scanner.name for scanner in plan.scanners], PARTS)
    about = ABOUT | {"seed": seed} | ({} if style == "plain" else {"name": f"synthetic_mammography_{style}"})
    return write_cohort(folder, partial(_make_patient, plan), num_patients, workers, partial(_split, seed), about)


def _split(seed: int, items: list[Item]) -> dict[str, list[Item]]:
    """Splits by patient, stratified on the patient's worst pathology, even if the site does not annotate it."""
    known = [{PATIENT_ID: item[PATIENT_ID], LABELS: {_WORST: item.pop(_WORST)}, "item": item} for item in items]
    sections = split_by_patient(known, FRACTIONS, seed=seed, stratify_on=_WORST)
    return {name: [entry["item"] for entry in section] for name, section in sections.items()}


def _make_patient(plan: _Plan, number: int) -> list[Item]:
    """Renders and writes one patient's study from the patient's own random number generator."""
    rng = np.random.default_rng([plan.seed, number])
    scanner = plan.scanners[number % len(plan.scanners)]
    style = STYLES[plan.style]
    study = draw_study(plan.shares, style, rng)
    images = [render_view(side, view, scanner, plan.image_size, style, rng) for side, view in study.shots]
    pixels = hashlib.sha256(b"".join(image.appearance.values.tobytes() for image in images)).hexdigest()
    patient_id = f"synthetic-{plan.seed}-{number:05d}"
    subject = Subject(patient_id, "Synthetic^Breast", "F", study.age_years)
    items = []
    for index, image in enumerate(images, start=1):
        name = f"{patient_id}_{image.side.laterality}_{image.view}"
        header = _header(subject, image, index, f"{patient_id}-{plan.image_size}-{pixels}", bool(rng.random() < 0.25))
        write_mg(plan.folder / "images" / f"{name}.dcm", image.appearance, scanner, header)
        item: Item = {IMAGE: f"images/{name}.dcm", PATIENT_ID: patient_id, STUDY_ID: f"{patient_id}-study"}
        item |= {LATERALITY: image.side.laterality, VIEW: image.view}
        annotations = _annotate(plan.folder, image, name, plan.annotated.get(scanner.name, PARTS))
        items.append(item | {SITE: scanner.name, _WORST: study.worst_pathology} | annotations)
    return items


def _annotate(folder: Path, image: Mammogram, name: str, parts: Sequence[str]) -> Item:
    """Returns masks, boxes and labels of one image, limited to the annotations of its site."""
    annotations: Item = {}
    if "lesion" in parts:
        mask = np.any([np.zeros_like(image.breast), *image.lesions], axis=0)
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"masks/{name}_lesion.png")
        annotations[MASKS] = {"lesion": f"masks/{name}_lesion.png"}
    if "lesion_box" in parts:
        annotations[BOXES] = {"lesion": [box for mask in image.lesions if (box := box_of_mask(mask))]}
    labels = {"pathology": image.side.pathology, "breast_density": image.side.breast.density}
    labels = {task: label for task, label in labels.items() if task in parts}
    return annotations | ({LABELS: labels} if labels else {})


def _header(subject: Subject, image: Mammogram, number: int, entropy: str, compress: bool) -> MGHeader:
    return MGHeader(
        subject=subject,
        laterality=image.side.laterality,
        view=image.view,
        thickness_mm=image.side.breast.thickness,
        spacing_mm=image.spacing_mm,
        number=number,
        study_entropy=entropy,
        compress=compress,
    )
