"""DICOM Segmentations: valid, and read back with the values, references and codes that were written."""

import highdicom
import numpy as np
import pydicom
import pytest

from mtmedformer_monai.deploy.headers.source_header import read_source_header
from mtmedformer_monai.deploy.results import ImageMaps, ImageResult, ImageSource, MaskResult
from mtmedformer_monai.deploy.segmentation.segmentation_object import (
    make_segmentation,
    plan_segments,
    write_segmentations,
)
from mtmedformer_monai.deploy.sr.structured_report import image_report
from tests.data.synthetic.dicom.validator import validate

KINDS = ("seg", "heat_map", "uncertainty", "explanation")
SOURCES = {
    "DX": {"modality": "DX", "PatientOrientation": ["L", "F"]},
    "DX without orientation": {"modality": "DX"},
    "CR": {"modality": "CR", "PatientOrientation": ["R", "F"], "PixelSpacing": [0.2, 0.2]},
    "CR with slice thickness": {"modality": "CR", "PixelSpacing": [0.2, 0.2], "SliceThickness": 1},
    "MG right": {"modality": "MG", "PatientOrientation": ["P", "L"], "ImageLaterality": "R"},
    "MG left": {"modality": "MG", "PatientOrientation": ["A", "FR"], "Laterality": "L"},
    "MG view as orientation": {"modality": "MG", "PatientOrientation": "CC"},
    "frame of reference": {"modality": "MG", "FrameOfReferenceUID": "1.2.3", "ImageLaterality": "L"},
    "secondary capture": {"modality": "RG"},
    "no patient": {"PatientName": None, "PatientID": None},
    "letters of another alphabet": {"PatientName": "Иванов^Иван", "SpecificCharacterSet": "ISO_IR 192"},
}


@pytest.fixture
def write(make_dicom, lesion_in, provenance, tmp_path):
    """Writes all objects of a source; returns its header and {kind: path}."""

    def make(size=(30, 20), maps=None, **elements):
        path = make_dicom(rows=size[0], columns=size[1], **elements)
        image, made = lesion_in(size)
        header = read_source_header(path)
        files = write_segmentations(image, ImageSource(path, header, maps or made), provenance, tmp_path / "out")
        return header, {kind: tmp_path / "out" / name for kind, name in files.items()}

    return make


@pytest.mark.parametrize("elements", SOURCES.values(), ids=SOURCES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_object_of_every_source_is_valid_and_readable(write, elements):
    header, files = write(**elements)
    assert tuple(files) == KINDS
    for path in files.values():
        assert validate(path)[1] == []
        read = highdicom.seg.segread(path)  # a Segmentation, or an error
        assert read.get_pixels_by_source_instance([header.SOPInstanceUID]).shape == (1, 30, 20, 1)


def test_masks_are_read_back_exactly(write):
    header, files = write()
    pixels = highdicom.seg.segread(files["seg"]).get_pixels_by_source_instance([header.SOPInstanceUID])
    expected = np.zeros((30, 20), dtype=bool)
    expected[3:9, 4:10] = True
    np.testing.assert_array_equal(pixels[0, ..., 0], expected)
    np.testing.assert_array_equal(pydicom.dcmread(files["seg"]).pixel_array, expected)


@pytest.mark.parametrize(("kind", "value"), [("heat_map", 0.5), ("uncertainty", 0.25), ("explanation", 0.5)])
def test_fractions_are_read_back_within_a_step(write, kind, value):
    header, files = write()
    pixels = highdicom.seg.segread(files[kind]).get_pixels_by_source_instance([header.SOPInstanceUID])
    assert pixels[0, 3:9, 4:10, 0] == pytest.approx(value, abs=1.01 / 510)
    assert pixels.sum() == pytest.approx(36 * value, rel=0.01)
    assert pydicom.dcmread(files[kind]).MaximumFractionalValue == 255


def test_noise_that_does_not_compress_is_written_as_well(write):
    noise = np.random.default_rng(0).random((1, 30, 20)).astype(np.float32)
    header, files = write(maps=ImageMaps(noise[0], probabilities={"lesion": noise}))
    pixels = highdicom.seg.segread(files["heat_map"]).get_pixels_by_source_instance([header.SOPInstanceUID])
    np.testing.assert_allclose(pixels[0, ..., 0], noise[0], atol=1 / 255)


@pytest.mark.parametrize("size", [(1, 2), (2, 1)], ids=str)
def test_an_image_of_two_pixels_is_written(make_dicom, lesion_in, provenance, tmp_path, size):
    path = make_dicom(rows=size[0], columns=size[1])
    image, maps = lesion_in(size, slice(0, 1), slice(0, 1))
    files = write_segmentations(image, ImageSource(path, read_source_header(path), maps), provenance, tmp_path / "out")
    assert pydicom.dcmread(tmp_path / "out" / files["heat_map"]).pixel_array.ravel().tolist() == [128, 0]


def test_an_absent_structure_has_an_empty_frame(write):
    empty = np.zeros((1, 30, 20), dtype=bool)
    _, files = write(maps=ImageMaps(empty[0].astype(np.float32), {"lesion": empty}))
    assert list(files) == ["seg"]
    assert not pydicom.dcmread(files["seg"]).pixel_array.any()
    assert validate(files["seg"])[1] == []


def test_the_object_names_source_patient_structure_and_algorithm(write):
    _, files = write(PatientOrientation=["L", "F"])
    data = pydicom.dcmread(files["seg"])
    assert (
        data.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID
        == "1.2.826.0.1.3680043.8.498.1"
    )
    assert (data.PatientID, str(data.PatientName), data.StudyInstanceUID) == (
        "MRN-4711",
        "Doe^Jane",
        "1.2.826.0.1.3680043.8.498.2",
    )
    segment = data.SegmentSequence[0]
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "52988006"
    algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("Some bundle", "1.2.3")
    assert "a" * 64 in str(algorithm.AlgorithmParameters)
    assert "b" * 64 in str(algorithm.AlgorithmParameters)
    assert "research use only" in data.SeriesDescription
    assert list(data.PatientOrientation) == ["L", "F"]


def test_a_second_run_writes_the_same_instance(write):
    first = pydicom.dcmread(write()[1]["seg"]).SOPInstanceUID
    assert pydicom.dcmread(write()[1]["seg"]).SOPInstanceUID == first


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_a_source_without_a_uid_has_no_dicom_output(make_dicom, lesion_in, provenance, tmp_path, keyword):
    header = read_source_header(make_dicom(rows=30, columns=20))
    delattr(header, keyword)
    image, maps = lesion_in((30, 20))
    assert write_segmentations(image, ImageSource(tmp_path / "a", header, maps), provenance, tmp_path) == {}


def test_maps_of_another_size_are_refused(make_dicom, lesion_in, provenance, tmp_path):
    image, maps = lesion_in((30, 21))
    source = ImageSource(tmp_path / "a", read_source_header(make_dicom(rows=30, columns=20)), maps)
    with pytest.raises(ValueError, match=r"30 x 20 pixels, got \(30, 21\)"):
        write_segmentations(image, source, provenance, tmp_path)


@pytest.mark.parametrize(
    ("elements", "spacing"),
    [({"PixelSpacing": [0.2, 0.3]}, [0.2, 0.3]), ({"ImagerPixelSpacing": [0.1, 0.1]}, [0.1, 0.1]), ({}, None)],
    ids=["calibrated", "at the detector", "unknown"],
)
def test_masks_have_the_plane_that_viewers_expect_and_no_frame_of_reference(write, elements, spacing):
    _, files = write(**elements)
    found = pydicom.dcmread(files["seg"])
    assert "FrameOfReferenceUID" not in found
    (shared,) = found.SharedFunctionalGroupsSequence
    if spacing is None:
        assert "PixelMeasuresSequence" not in shared
        return
    assert [float(length) for length in shared.PixelMeasuresSequence[0].PixelSpacing] == spacing
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [1, 0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    "name", ["clavicle", "Lung", "left upper lobe nodule", "cardiomegaly", "Größe\\2", "", "x" * 99]
)
def test_a_structure_has_one_code_in_seg_and_sr(make_dicom, provenance, name):
    header = read_source_header(make_dicom(rows=30, columns=20))
    mask = np.ones((1, 30, 20), bool)
    image = ImageResult("a.dcm", "a", (30, 20), segmentations={"task": (MaskResult(name, 600, 1.0),)})
    segments = plan_segments(ImageMaps(mask[0] * 1.0, {"task": mask}), image)["seg"]
    made = make_segmentation("seg", segments, header, provenance)
    (found,) = made.SegmentSequence[0].SegmentedPropertyTypeCodeSequence
    group = image_report(image, header, provenance).ContentSequence[-1].ContentSequence[0]
    (finding,) = (item for item in group.ContentSequence if item.ConceptNameCodeSequence[0].CodeMeaning == "Finding")
    stated = [
        (item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning)
        for item in (found, finding.ConceptCodeSequence[0])
    ]
    assert stated[0] == stated[1]
    schemes = [item.CodingSchemeDesignator for item in made.get("CodingSchemeIdentificationSequence", ())]
    assert schemes == ([stated[0][1]] if stated[0][1].startswith("99") else [])
