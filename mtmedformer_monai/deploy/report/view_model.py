"""What the template shows: the results of a run arranged as cards, without any arrays."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mtmedformer_monai.deploy.results import (
    ClassResult,
    ImageResult,
    Provenance,
    Refusal,
    RunResult,
    StudyResult,
)

from .bars import Classification, classification
from .image_card import ImageCard, image_card
from .layers import COLORMAPS, ImageLayers

HANGING = ("R_CC", "L_CC", "R_MLO", "L_MLO")
"""Order of the views of a mammogram, as they are hung: each view of both breasts side by side."""

TITLE = "Radiograph report"
SIDES = {"R": " (right)", "L": " (left)", "study": ""}
"""{group of a study task: what its heading adds}."""

FindLayers = Callable[[StudyResult, ImageResult], ImageLayers | None]


@dataclass(frozen=True)
class Tile:
    """A count at the top; `kind` is '', 'warn' or 'bad', `link` an anchor or ''."""

    count: int
    label: str
    kind: str = ""
    link: str = ""


@dataclass(frozen=True)
class StudyCard:
    """One study: its images in hanging order, and the classifications that fuse them."""

    id: str
    title: str
    uid: str
    folder: str
    images: tuple[ImageCard, ...]
    groups: tuple[Classification, ...]
    files: dict[str, str]
    notes: tuple[str, ...]
    headline: str
    thumbnail: tuple[str, str] | None
    flagged: bool


@dataclass(frozen=True)
class Page:
    """The whole report."""

    title: str
    created: str
    notice: str
    tiles: tuple[Tile, ...]
    studies: tuple[StudyCard, ...]
    refused: tuple[Refusal, ...]
    heat_kinds: tuple[str, ...]
    provenance: tuple[tuple[str, str], ...]
    files: dict[str, str]


def arrange(run: RunResult, layers_of: FindLayers) -> Page:
    """Arranges the results of a run.

    Args:
        run: the results.
        layers_of: returns the layers of an image of a study, or None.
    """
    studies = tuple(_study_card(index + 1, study, layers_of) for index, study in enumerate(run.studies))
    kinds = {layer.kind for study in studies for image in study.images for layer in image.heats}
    return Page(
        title=TITLE,
        created=f"{run.provenance.bundle_name} {run.provenance.bundle_version} · {run.created}",
        notice=run.notice,
        tiles=tuple(_tiles(run, studies)),
        studies=studies,
        refused=tuple(run.refused),
        heat_kinds=tuple(kind for kind in COLORMAPS if kind in kinds),
        provenance=tuple(_provenance(run, run.provenance)),
        files={kind: file for kind, file in run.files.items() if not file.endswith(".html")},
    )


def _tiles(run: RunResult, studies: tuple[StudyCard, ...]) -> Iterator[Tile]:
    images = sum(len(study.images) for study in studies)
    flagged = [image for study in studies for image in study.images if image.flags]
    yield Tile(len(studies), "study" if len(studies) == 1 else "studies")
    yield Tile(images, "image" if images == 1 else "images")
    if flagged:
        yield Tile(len(flagged), "flagged", "warn", f"#{flagged[0].id}")
    if run.refused:
        yield Tile(len(run.refused), "refused", "bad", "#refused")


def _provenance(run: RunResult, source: Provenance) -> Iterator[tuple[str, str]]:
    yield "Bundle", f"{source.bundle_name} {source.bundle_version}"
    yield "Bundle SHA-256", source.bundle_sha256
    yield "Weights SHA-256", source.weights_sha256
    yield "Created", run.created
    yield "Command", shlex.join(run.command)
    yield "Runtime", f"{source.runtime} on {source.device}"
    yield "Versions", ", ".join(f"{name} {version}" for name, version in source.versions.items())
    yield "Schema", run.schema_version


def _study_card(number: int, study: StudyResult, layers_of: FindLayers) -> StudyCard:
    title = f"Study {number}"
    images = tuple(
        image_card(f"study-{number}-image-{index + 1}", title, study, image, layers_of(study, image))
        for index, image in enumerate(sorted(study.images, key=_hanging))
    )
    drawn = [image.layers for image in images if image.layers]
    return StudyCard(
        id=f"study-{number}",
        title=title,
        uid=study.study_instance_uid or "",
        folder=study.folder,
        images=images,
        groups=tuple(_groups(study)),
        files=dict(study.files),
        notes=study.notes,
        headline=_headline(study),
        thumbnail=(drawn[0].folder, drawn[0].thumbnail) if drawn else None,
        flagged=any(image.flags for image in images),
    )


def _groups(study: StudyResult) -> Iterator[Classification]:
    for task, groups in study.classes.items():
        for group, result in groups.items():
            yield classification(task + SIDES.get(group, f" ({group})"), result)


def _hanging(image: ImageResult) -> int:
    """Returns the place of an image in hanging order; others follow in the order of the run (sorting is stable)."""
    name = f"{image.laterality}_{image.view}"
    return HANGING.index(name) if name in HANGING else len(HANGING)


def _headline(study: StudyResult) -> str:
    """Returns the most severe prediction of the first task: classes are listed in order of increasing severity."""
    fused = [result for groups in study.classes.values() for result in groups.values()]
    single = [next(iter(image.classes.values())) for image in study.images if image.classes]
    found = [_top(result) for result in fused[:1] or single]
    _, value, name = max(found, default=(0, 0.0, ""))
    return f"{name} {value:.2f}" if name else ""


def _top(result: ClassResult) -> tuple[int, float, str]:
    """Returns the last predicted class: its index, probability and name."""
    order = list(result.probabilities)
    predicted = [name for name in order if name in result.predicted]
    if not predicted:
        return -1, 0.0, ""
    return order.index(predicted[-1]), result.probabilities[predicted[-1]], predicted[-1]
