import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from mtmedformer_monai.data import find_studies
from mtmedformer_monai.transforms import errors
from mtmedformer_monai.transforms.dicom import functional_groups
from mtmedformer_monai.transforms.dicom.parse import read_header
from mtmedformer_monai.transforms.dicom.read import read_dicom

PIXELS = np.arange(1024, dtype=np.uint16).reshape(32, 32) * 4
TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"


def item(**elements):
    data = Dataset()
    for keyword, value in elements.items():
        setattr(data, keyword, [item(**value)] if isinstance(value, dict) else value)
    return data


def windowed(center, width):
    """Applies a LINEAR window (PS3.3 C.11.2.1.2.1)."""
    return np.clip((PIXELS - (center - 0.5)) / (width - 1) + 0.5, 0, 1)


@pytest.fixture
def make_synthesized(make_dicom):
    """Returns a factory of single-frame Breast Tomosynthesis objects: `make(shared={...}, frame={...})`."""

    def make(shared=None, frame=None, **elements):
        groups = {"SharedFunctionalGroupsSequence": shared, "PerFrameFunctionalGroupsSequence": frame}
        image_type = ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"]
        return make_dicom(
            **{
                "pixels": PIXELS,
                "modality": "MG",
                "NumberOfFrames": 1,
                "SOPClassUID": TOMOSYNTHESIS,
                "ImageType": image_type,
                **{keyword: [item(**group)] for keyword, group in groups.items() if group},
                **elements,
            }
        )

    return make


WINDOW = {"WindowCenter": 1000, "WindowWidth": 500}


@pytest.mark.parametrize("place", ["shared", "frame"])
def test_window_side_spacing_and_orientation(make_synthesized, place):
    groups = {
        "FrameVOILUTSequence": WINDOW,
        "FrameAnatomySequence": {"FrameLaterality": "R"},
        "PixelMeasuresSequence": {"PixelSpacing": [0.1, 0.2]},
        "PatientOrientationInFrameSequence": {"PatientOrientation": ["P", "L"]},
    }
    image, meta = read_dicom(make_synthesized(**{place: groups}))
    np.testing.assert_allclose(image, windowed(1000, 500), atol=1e-6)
    assert (meta["laterality"], meta["patient_orientation"]) == ("R", "P\\L")
    assert meta["spacing_mm"].tolist() == [0.1, 0.2]


def test_precedence_of_frame_shared_group_and_data_set(make_synthesized):
    shared, frame = {"FrameVOILUTSequence": WINDOW}, {"FrameVOILUTSequence": {"WindowCenter": 2000, "WindowWidth": 300}}
    top = {"WindowCenter": 50, "WindowWidth": 10}
    np.testing.assert_allclose(read_dicom(make_synthesized(shared, frame, **top))[0], windowed(2000, 300), atol=1e-6)
    np.testing.assert_allclose(read_dicom(make_synthesized(shared, **top))[0], windowed(1000, 500), atol=1e-6)
    np.testing.assert_allclose(read_dicom(make_synthesized(**top))[0], windowed(50, 10), atol=1e-6)


def test_a_window_of_the_frame_replaces_a_shared_table(make_synthesized, make_lut):
    table = [make_lut([0, 4095], first=2000, bits=12)]
    path = make_synthesized({"FrameVOILUTSequence": WINDOW}, VOILUTSequence=table)
    np.testing.assert_allclose(read_dicom(path)[0], windowed(1000, 500), atol=1e-6)
    path = make_synthesized({"FrameVOILUTSequence": {"VOILUTSequence": table}}, **WINDOW)
    np.testing.assert_array_equal(read_dicom(path)[0], PIXELS > 2000)


def test_function_of_the_window_and_rescale(make_synthesized):
    groups = {
        "FrameVOILUTSequence": {**WINDOW, "VOILUTFunction": "LINEAR_EXACT"},
        "PixelValueTransformationSequence": {"RescaleSlope": 2, "RescaleIntercept": -500, "RescaleType": "US"},
    }
    expected = np.clip((2.0 * PIXELS - 500 - 1000) / 500 + 0.5, 0, 1)  # C.11.2.1.3.2
    np.testing.assert_allclose(read_dicom(make_synthesized(groups))[0], expected, atol=1e-6)


def test_view_and_magnification(make_synthesized):
    view = item(CodeValue="R-10226")
    groups = {
        "FrameAnatomySequence": {"FrameLaterality": " l", "ViewCodeSequence": [view]},
        "FramePixelDataPropertiesSequence": {"ImagerPixelSpacing": [0.2, 0.2]},
        "XRayGeometrySequence": {"DistanceSourceToDetector": 650, "DistanceSourceToPatient": 520},
    }
    meta = read_dicom(make_synthesized(groups))[1]
    assert (meta["laterality"], meta["view"]) == ("L", "MLO")
    np.testing.assert_allclose(meta["spacing_mm"], 0.2 * 520 / 650)


def test_frame_type_is_used_if_the_image_type_is_mixed(make_synthesized):
    kind = ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"]
    mixed = ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "MIXED"]
    with pytest.raises(errors.RefusedImageError, match="tomosynthesis='refuse'"):
        read_dicom(make_synthesized(ImageType=mixed))
    path = make_synthesized(frame={"XRay3DFrameTypeSequence": {"FrameType": kind}}, ImageType=mixed)
    assert read_dicom(path)[0].shape == PIXELS.shape


def test_functional_groups_are_used_to_build_a_datalist(make_synthesized, tmp_path):
    make_synthesized({"FrameAnatomySequence": {"FrameLaterality": "R"}}, ViewPosition="CC")
    found = find_studies(tmp_path)
    assert [(image["laterality"], image["view"]) for image in found] == [("R", "CC")]


def test_other_elements_are_dropped(make_synthesized):
    path = make_synthesized({"FrameAnatomySequence": {"FrameLaterality": "R"}, "PatientName": "Doe^Jane"})
    assert "Jane" not in str(read_header(path))
    assert not {"SharedFunctionalGroupsSequence", "PatientName"} & set(read_header(path).dir())


def test_invalid_number_is_named(make_synthesized):
    path = make_synthesized({"FrameVOILUTSequence": {"WindowCenter": "1111", "WindowWidth": "500"}})
    path.write_bytes(path.read_bytes().replace(b"1111", b"1,11"))
    with pytest.raises(errors.UnreadableFileError, match="its Window Center is not a number"):
        read_dicom(path)


def test_several_frames_are_refused(make_dicom):
    groups = [item(FrameVOILUTSequence=WINDOW) for _ in range(3)]
    path = make_dicom(pixels=np.zeros((3, 8, 8), np.uint16), PerFrameFunctionalGroupsSequence=groups)
    with pytest.raises(errors.MultiFrameError, match="3 frames"):
        read_dicom(path)


def test_macros_and_elements_are_in_the_standard():
    for macro, keywords in functional_groups._MACROS.items():
        for keyword in (macro, *keywords):
            assert pydicom.datadict.tag_for_keyword(keyword) is not None, keyword
