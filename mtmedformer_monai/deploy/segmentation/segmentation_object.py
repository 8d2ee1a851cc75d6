"""Writes masks, heat maps, uncertainty and explanations as DICOM Segmentations (PS3.3 A.51) of the source image."""

# C segments, H rows, W columns

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.sr.coding import Code

from mtmedformer_monai.deploy.headers.coded_names import PRIVATE_SCHEME, coding_scheme
from mtmedformer_monai.deploy.headers.creation_time import set_creation_time
from mtmedformer_monai.deploy.headers.equipment import DEVICE_SERIAL_NUMBER, MANUFACTURER
from mtmedformer_monai.deploy.headers.patient_study import PATIENT_AND_STUDY, copy_patient_and_study, without_patient
from mtmedformer_monai.deploy.headers.quiet import quiet_libraries
from mtmedformer_monai.deploy.headers.uids import derived_uid, model_sha256, tracking_name, tracking_uid
from mtmedformer_monai.deploy.output_paths import inside
from mtmedformer_monai.deploy.results import ImageMaps, ImageResult, ImageSource, Provenance
from mtmedformer_monai.io.atomic_files import write_atomically
from mtmedformer_monai.transforms.dicom.spacing import read_spacing_mm

from .segment_codes import codes_of, explanation_codes
from .segment_pixels import MAX_FRACTIONAL_VALUE, encode_fractions, pack_masks, set_pixels

SERIES_NUMBERS = {"seg": 9001, "heat_map": 9002, "uncertainty": 9003, "explanation": 9004}
"""{kind of object: Series Number}; every object is a series of its own."""

_TITLES = {
    "seg": "Masks",
    "heat_map": "Probabilities",
    "uncertainty": "Uncertainty",
    "explanation": "Explanations",
}
_NOMINAL_THICKNESS_MM = 1.0
_LONGEST = 64
"""Maximum length of LO elements."""


@dataclass(frozen=True)
class SegmentMap:
    """One segment.

    Attributes:
        label: Segment Label.
        codes: category and type of what the segment shows.
        values: bool (H, W), float (H, W) in [0, 1], or uint8 (H, W) in steps of 1 / 255.
        tracking: what identifies the segment across objects, such as the task and the structure.
    """

    label: str
    codes: tuple[Code, Code]
    values: NDArray[Any]
    tracking: str = field(default="")


def write_masks(image: ImageResult, source: ImageSource, provenance: Provenance, folder: Path) -> Mapping[str, str]:
    """Writes `<name>_seg.dcm`; see `write_segmentations`."""
    return write_segmentations(image, source, provenance, folder, ("seg",))


def write_maps(image: ImageResult, source: ImageSource, provenance: Provenance, folder: Path) -> Mapping[str, str]:
    """Writes `<name>_heat_map.dcm`, `_uncertainty` and `_explanation`; see `write_segmentations`."""
    return write_segmentations(image, source, provenance, folder, ("heat_map", "uncertainty", "explanation"))


def write_segmentations(
    image: ImageResult,
    source: ImageSource,
    provenance: Provenance,
    folder: Path,
    kinds: Collection[str] = tuple(SERIES_NUMBERS),
) -> Mapping[str, str]:
    """Writes `<name>_seg.dcm` with all masks and, where there are maps, `_heat_map`, `_uncertainty`, `_explanation`.

    Masks are BINARY segments, all others FRACTIONAL segments of the type PROBABILITY. Every segment has one frame, with
    rows and columns of the source; a structure that was not found has an empty frame.

    Args:
        image: results of the image.
        source: its header and maps.
        provenance: what produced the results.
        folder: folder of the study.
        kinds: keys of `SERIES_NUMBERS`; others are not written.

    Returns:
        {kind: file name}; empty if the source is not DICOM, or lacks one of the UIDs that a reference needs.
    """
    if source.header is None or source.maps is None or missing_reference(source.header):
        return {}
    files = {}
    for kind, segments in plan_segments(source.maps, image).items():
        if segments and kind in kinds:
            name = f"{image.name}_{kind}.dcm"
            save_dicom(make_segmentation(kind, segments, source.header, provenance), inside(folder, name))
            files[kind] = name
    return files


def save_dicom(dataset: Any, path: Path) -> None:
    """Writes a DICOM object atomically."""
    with quiet_libraries():
        write_atomically(path, lambda file: dataset.save_as(file))


def missing_reference(header: Any) -> str:
    """Returns the keyword of the first element that a reference to an image needs and the header lacks, or ''."""
    needed = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "Rows", "Columns")
    return next((keyword for keyword in needed if not header.get(keyword)), "")


def plan_segments(maps: ImageMaps, image: ImageResult) -> dict[str, list[SegmentMap]]:
    """Lists the segments of each kind of object, in the order of the tasks and structures."""
    structures = {task: [mask.structure for mask in masks] for task, masks in image.segmentations.items()}
    planned: dict[str, list[SegmentMap]] = {kind: [] for kind in SERIES_NUMBERS}
    for task, names in structures.items():
        for index, name in enumerate(names):
            codes, tracking = codes_of(task, name), tracking_name(task, name)
            if task in maps.masks:
                planned["seg"].append(SegmentMap(name, codes, maps.masks[task][index], tracking))
            if task in maps.probabilities:
                label = f"{name}, probability"
                planned["heat_map"].append(SegmentMap(label, codes, maps.steps[task][index], tracking))
            for measure, values in maps.uncertainty.get(task, {}).items():
                label = f"{name}, {measure.replace('_', ' ')}"
                planned["uncertainty"].append(SegmentMap(label, codes, values[index]))
    for task, by_class in maps.explanations.items():
        for name, values in by_class.items():
            planned["explanation"].append(SegmentMap(f"{task}, {name}", explanation_codes(), values))
    return planned


def make_segmentation(kind: str, segments: Sequence[SegmentMap], header: Any, provenance: Provenance) -> Any:
    """Builds a Segmentation of one image.

    A projection radiograph has no patient-based frame of reference, so that frames are related to it by their size and
    the Derivation Image functional group (PS3.3 C.7.6.16.2.6) only. Patient Orientation and Image Laterality, which
    General Image (C.7.6.1) requires for such images, are those of the source. If the spacing is known, masks have the
    shared groups Pixel Measures and Plane Orientation, without which OHIF draws nothing. Their orientation, that of the
    image in its own plane, and slice thickness are nominal; no frame of reference relates them to the patient.

    highdicom builds the object with frames of one pixel, which are replaced afterwards: its checks and conversions of
    the pixels of a radiograph take longer than the network.

    Args:
        kind: key of `SERIES_NUMBERS`.
        segments: segments of equal type and of the source's size.
        header: source header from `read_source_header`.
        provenance: bundle and weights, stated as the algorithm.

    Returns:
        highdicom.seg.Segmentation.

    Raises:
        ValueError: a segment does not have the size of the source.
    """
    size = (int(header.Rows), int(header.Columns))
    wrong = next((each.values.shape for each in segments if each.values.shape != size), None)
    if wrong is not None:
        raise ValueError(f"segments expect the size of the source, {size[0]} x {size[1]} pixels, got {wrong}.")
    made = _build(kind, segments, _as_one_pixel(header), provenance)
    copy_patient_and_study(header, made)
    set_creation_time(header, made, "Content")
    made.Rows, made.Columns = size
    if any(code.scheme_designator == PRIVATE_SCHEME for each in segments for code in each.codes):
        made.CodingSchemeIdentificationSequence = [coding_scheme()]
    frames = [each.values for each in segments]
    if kind == "seg":
        _add_nominal_plane(made, read_spacing_mm(header))
    set_pixels(made, pack_masks(frames) if kind == "seg" else encode_fractions(frames))
    made.PatientOrientation = header.PatientOrientation
    if "ImageLaterality" in header:
        made.ImageLaterality = header.ImageLaterality
    return made


def _build(kind: str, segments: Sequence[SegmentMap], header: Any, provenance: Provenance) -> Any:
    """Builds the object of a source of one pixel."""
    import highdicom

    is_binary = kind == "seg"
    uid = str(header.SOPInstanceUID)
    with quiet_libraries():
        return highdicom.seg.Segmentation(
            source_images=[header],
            pixel_array=np.zeros((1, 1, 1, len(segments)), dtype=np.bool_ if is_binary else np.float32),
            segmentation_type="BINARY" if is_binary else "FRACTIONAL",
            segment_descriptions=_describe(segments, uid, provenance),
            series_instance_uid=derived_uid(uid, f"{kind} series", model_sha256(provenance)),
            series_number=SERIES_NUMBERS[kind],
            sop_instance_uid=derived_uid(uid, f"{kind} instance", model_sha256(provenance)),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=provenance.bundle_name[:_LONGEST] or MANUFACTURER,
            software_versions=_versions(provenance),
            device_serial_number=DEVICE_SERIAL_NUMBER,
            max_fractional_value=MAX_FRACTIONAL_VALUE,
            content_label="SEGMENTATION" if is_binary else kind.upper(),
            content_description="Research use only",
            omit_empty_frames=False,
            series_description=f"{_TITLES[kind]} (research use only)",
        )


def _add_nominal_plane(made: Any, spacing_mm: NDArray[np.float64]) -> None:
    """Adds Pixel Measures (PS3.3 C.7.6.16.2.1) and Plane Orientation (C.7.6.16.2.4) if the spacing is known.

    highdicom reads no Pixel Measures without Slice Thickness.
    """
    from pydicom import Dataset

    if not np.all(np.isfinite(spacing_mm)):
        return
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing = [f"{length:.8g}" for length in spacing_mm]
    measures.SliceThickness = _NOMINAL_THICKNESS_MM
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared = made.SharedFunctionalGroupsSequence[0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]


def _as_one_pixel(header: Any) -> Any:
    """Returns a header of one pixel, without patient, Pixel Spacing and Specific Character Set.

    highdicom validates the patient's attributes; see `patient_study`. It would write the spacing without the Slice
    Thickness that it requires. A projection has no slices; the spacing is that of the source, which the object refers
    to.
    """
    kept = without_patient(header)
    for element in header:
        if element.keyword not in {*PATIENT_AND_STUDY, "PixelSpacing", "Rows", "Columns"}:
            kept.add(element)
    kept.Rows, kept.Columns = 1, 1
    return kept


def algorithm_identification(provenance: Provenance) -> Any:
    """Returns the Algorithm Identification (PS3.3 Table 10-19): the bundle's name, version and hashes."""
    import highdicom
    from pydicom.sr.codedict import codes

    return highdicom.AlgorithmIdentificationSequence(
        name=provenance.bundle_name[:_LONGEST] or MANUFACTURER,
        family=codes.DCM.ArtificialIntelligence,
        version=provenance.bundle_version[:_LONGEST] or "unknown",
        source=MANUFACTURER,
        parameters={"bundle_sha256": provenance.bundle_sha256, "weights_sha256": provenance.weights_sha256},
    )


def _describe(segments: Sequence[SegmentMap], uid: str, provenance: Provenance) -> list[Any]:
    import highdicom

    algorithm = algorithm_identification(provenance)
    return [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=segment.label[:_LONGEST],
            segmented_property_category=segment.codes[0],
            segmented_property_type=segment.codes[1],
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            tracking_id=segment.tracking[:_LONGEST] or None,
            tracking_uid=tracking_uid(uid, segment.tracking, provenance) if segment.tracking else None,
        )
        for number, segment in enumerate(segments, start=1)
    ]


def _versions(provenance: Provenance) -> list[str]:
    """Returns versions of bundle and packages, at least one, each of at most 64 characters (LO)."""
    packages = [f"{name} {version}" for name, version in provenance.versions.items()]
    return [text[:_LONGEST] for text in (f"bundle {provenance.bundle_version}", *packages)]
