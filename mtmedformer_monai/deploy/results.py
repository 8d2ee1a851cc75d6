"""The results of inference, as written to `results.json` and passed to the writers of all output files.

The dataclasses contain plain Python values only, and nothing that identifies a patient. Arrays travel beside them in
memory (`ImageMaps`). docs/results_schema.md documents the fields, and docs/results_schema.json is the JSON schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mtmedformer_monai.keys import NOTICE

from .small_maps import SmallMaps, reduce_maps, to_steps

SCHEMA_VERSION = "1.2"
"""Version of the schema: the minor number increases when fields are added, the major number when any changes."""

Uncertainty: TypeAlias = Mapping[str, "float | Mapping[str, float]"]
"""{measure: value, or {class: value}}."""


@dataclass(frozen=True)
class MaskResult:
    """The mask of one structure, in pixels of the source.

    Attributes:
        structure: name of the structure.
        area_px: number of pixels.
        area_fraction: fraction of the image.
        area_mm2: area in square millimeters; None if the spacing is unknown.
        threshold: minimum probability of a pixel of the mask; None if the task has none.
        uncertainty: {measure: value}; empty if it was not estimated.
    """

    structure: str
    area_px: int
    area_fraction: float
    area_mm2: float | None = None
    threshold: float | None = None
    uncertainty: Uncertainty = field(default_factory=dict)


@dataclass(frozen=True)
class BoxResult:
    """One detected box, in pixels of the source.

    Attributes:
        box: x1, y1, x2, y2 in pixel edges: pixel i covers [i, i + 1), and the whole image is (0, 0, columns, rows).
        class_name: name of the class.
        probability: score in [0, 1].
        size_mm: width and height in millimeters; None if the spacing is unknown.
        threshold: minimum probability of a reported box: its class's operating threshold, or 0.2 if there is none.
        uncertainty: {measure: value}; empty if it was not estimated.
    """

    box: tuple[float, float, float, float]
    class_name: str
    probability: float
    size_mm: tuple[float, float] | None = None
    threshold: float | None = None
    uncertainty: Uncertainty = field(default_factory=dict)


@dataclass(frozen=True)
class ClassResult:
    """One classification of an image, a breast or a study.

    Attributes:
        kind: 'binary', 'multiclass', 'multilabel', 'ordinal' or '' (unknown).
        probabilities: {class: probability}.
        predicted: names of the predicted classes; one, unless the task is multi-label or not applicable.
        applicable: whether the condition of a conditional task is met.
        calibrated: whether the probabilities were calibrated on validation data.
        thresholds: {class: operating threshold}; empty if the bundle states none. An ordinal one is that of the
            probability of its class or a higher one.
        flagged: of a multi-class or ordinal task: names of the classes that reach their threshold, predicted or not.
        uncertainty: {measure: value}; empty if it was not estimated.
    """

    kind: str
    probabilities: Mapping[str, float]
    predicted: tuple[str, ...] = ()
    applicable: bool = True
    calibrated: bool = False
    thresholds: Mapping[str, float] = field(default_factory=dict)
    flagged: tuple[str, ...] = ()
    uncertainty: Uncertainty = field(default_factory=dict)

    @property
    def or_higher(self) -> str:
        """What to add to the name of a class to say what its threshold is of."""
        return " or higher" if self.kind == "ordinal" else ""

    def decimals(self, name: str) -> int:
        """Returns with how many decimals, 2 to 6, the probability of a class is shown to differ from its threshold.

        Example:
            >>> ClassResult("binary", {"mass": 0.2999}, thresholds={"mass": 0.3}).decimals("mass")
            4
        """
        value, threshold = self.probabilities[name], self.thresholds.get(name)
        if threshold is None or value == threshold:
            return 2
        return next((places for places in range(2, 6) if f"{value:.{places}f}" != f"{threshold:.{places}f}"), 6)


@dataclass(frozen=True)
class ImageResult:
    """The results of one image.

    Attributes:
        source: path of the file, relative to the input that was given.
        name: name of the image within its study folder, unique in the study; output files start with it.
        size: rows and columns.
        spacing_mm: row and column spacing in mm; None if unknown.
        modality: 'DX', 'MG', ...; like the UIDs, None if the file is not DICOM.
        laterality: 'L', 'R', 'B', or None if unknown.
        view: 'PA', 'CC', ..., or None if unknown.
        sop_class_uid: SOP Class UID.
        sop_instance_uid: SOP Instance UID.
        series_instance_uid: Series Instance UID.
        study_instance_uid: Study Instance UID.
        flags: warnings of the admission rules and of later checks.
        segmentations: {task: masks of its structures}.
        boxes: {task: its boxes, most probable first}.
        classes: {task: its classification}.
        scores: {name: value} of checks of the whole image, such as the distance from the training data.
        files: {kind: file name in the study folder}; kinds are documented in docs/results_schema.md.
        notes: sentences about outputs that could not be written.
    """

    source: str
    name: str
    size: tuple[int, int]
    spacing_mm: tuple[float, float] | None = None
    modality: str | None = None
    laterality: str | None = None
    view: str | None = None
    sop_class_uid: str | None = None
    sop_instance_uid: str | None = None
    series_instance_uid: str | None = None
    study_instance_uid: str | None = None
    flags: tuple[str, ...] = ()
    segmentations: Mapping[str, tuple[MaskResult, ...]] = field(default_factory=dict)
    boxes: Mapping[str, tuple[BoxResult, ...]] = field(default_factory=dict)
    classes: Mapping[str, ClassResult] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyResult:
    """The results of one study; a file without a Study Instance UID is a study of its own.

    Attributes:
        study_instance_uid: Study Instance UID, or None.
        folder: folder of the study's files, relative to the output folder.
        images: results of its images.
        classes: {study task: {'study', 'R' or 'L': classification fused from several views}}.
        files: {kind: file name in the folder} of files about the study as a whole.
        notes: sentences about outputs that could not be written.
        num_refused: number of its files that were refused, which the results say nothing about.
    """

    study_instance_uid: str | None
    folder: str
    images: tuple[ImageResult, ...]
    classes: Mapping[str, Mapping[str, ClassResult]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    num_refused: int = 0


@dataclass(frozen=True)
class Refusal:
    """A file that was not processed, or an output that could not be written.

    Attributes:
        source: path of the file, relative to the input that was given.
        reason: what is wrong, and the remedy; without any attribute of the patient.
        rule: the class of the error, such as 'RefusedImageError', or the name of the rule that refused the file.
    """

    source: str
    reason: str
    rule: str


@dataclass(frozen=True)
class Provenance:
    """What produced the results.

    Attributes:
        bundle_name: name of the bundle's metadata.
        bundle_version: version of the bundle's metadata.
        bundle_sha256: hash of the bundle's configuration, calibration and guard (see `bundle_model.hash_bundle`).
        weights_sha256: hash of the file of weights.
        versions: {package: version}.
        device: device of the network, such as 'cpu'.
        runtime: 'torch' or 'onnx'.
    """

    bundle_name: str
    bundle_version: str
    bundle_sha256: str
    weights_sha256: str
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    runtime: str = "torch"


@dataclass(frozen=True)
class RunResult:
    """The results of one run; the content of `results.json`.

    Attributes:
        created: time of the run's start, ISO 8601 with time zone.
        command: `infer` with its device and number of workers; no paths, which may name patients.
        provenance: what produced the results.
        studies: results of each study.
        refused: files that were not processed, and outputs that could not be written.
        files: {kind: file name in the output folder} of files about the run as a whole.
        notice: for research use only.
        schema_version: version of this schema.
    """

    created: str
    command: tuple[str, ...]
    provenance: Provenance
    studies: tuple[StudyResult, ...]
    refused: tuple[Refusal, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    notice: str = NOTICE
    schema_version: str = SCHEMA_VERSION


@dataclass(frozen=True)
class ImageMaps:
    """The arrays of one image, all in the pixel grid of the source: H rows, W columns, C structures.

    Attributes:
        picture: float32 (H, W) in [0, 1], the image as displayed: brighter is denser.
        masks: {segmentation task: bool (C, H, W)}, in the order of `ImageResult.segmentations`.
        probabilities: {segmentation task: float32 (C, H, W) in [0, 1]}, likewise.
        uncertainty: {segmentation task: {measure: float32 (C, H, W)}}, likewise.
        explanations: {classification task: {class: float32 (H, W) in [0, 1]}}.
    """

    picture: NDArray[np.float32]
    masks: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    probabilities: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    uncertainty: Mapping[str, Mapping[str, NDArray[np.float32]]] = field(default_factory=dict)
    explanations: Mapping[str, Mapping[str, NDArray[np.float32]]] = field(default_factory=dict)

    @cached_property
    def small(self) -> SmallMaps:
        """Picture and masks reduced to the size of drawings, computed once for all writers."""
        return reduce_maps(self.picture, self.masks)

    @cached_property
    def steps(self) -> Mapping[str, NDArray[np.uint8]]:
        """{segmentation task: probabilities in steps of 1 / 255, uint8 (C, H, W)}, computed once for all writers."""
        return {task: to_steps(values) for task, values in self.probabilities.items()}


@dataclass(frozen=True)
class ImageSource:
    """The source of one image, in memory only.

    Attributes:
        path: absolute path of the file.
        header: pydicom Dataset without pixel data; None if the file is not DICOM.
        maps: arrays of the image; None in writers of studies and runs, so that memory is bounded by one image.
    """

    path: Path
    header: Any | None
    maps: ImageMaps | None = None


ImageWriter: TypeAlias = Callable[[ImageResult, ImageSource, Provenance, Path], Mapping[str, str]]
"""Writes files about one image to its study's folder: (result, source with maps, provenance, folder of the study).
Returns {kind: file name}, which is added to `ImageResult.files`; an image that is not DICOM has no DICOM output."""

StudyWriter: TypeAlias = Callable[[StudyResult, Sequence[ImageSource], Provenance, Path], Mapping[str, str]]
"""Writes files about one study: (result, sources in the order of its images, provenance, folder of the study)."""

RunWriter: TypeAlias = Callable[[RunResult, Path], Mapping[str, str]]
"""Writes files about the whole run: (result, output folder)."""
