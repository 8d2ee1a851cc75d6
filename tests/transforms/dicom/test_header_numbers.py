import numpy as np
import pydicom
import pytest

from mtmedformer_monai.transforms import errors
from mtmedformer_monai.transforms.dicom.read import read_dicom

PIXELS = np.arange(12, dtype=np.uint16).reshape(3, 4) * 100
WINDOW = {"WindowCenter": "1000", "WindowWidth": "500"}


def overwrite(path, keyword, value, vr="DS"):
    data, tag = pydicom.dcmread(path), pydicom.tag.Tag(keyword)
    value += b" " * (len(value) % 2)
    data[tag] = pydicom.dataelem.RawDataElement(tag, vr, len(value), value, 0, False, True)
    data.save_as(path)
    return path


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"2048,0", "is not a number"),
        (b"2048\\", "is not a number"),
        (b"\\2048", "is not a number"),
        (b"auto", "is not a number"),
        (b"NaN", "is NaN or infinite"),
        (b"1\\nan", "is NaN or infinite"),
        (b"-inf", "is NaN or infinite"),
        (b"1e999", "is NaN or infinite"),
    ],
)
@pytest.mark.parametrize(
    ("keyword", "name"),
    [
        ("WindowCenter", "Window Center"),
        ("WindowWidth", "Window Width"),
        ("RescaleSlope", "Rescale Slope"),
        ("RescaleIntercept", "Rescale Intercept"),
    ],
)
def test_the_element_is_named(make_dicom, keyword, name, value, problem):
    path = overwrite(make_dicom(pixels=PIXELS, **WINDOW), keyword, value)
    with pytest.raises(errors.UnreadableFileError, match=rf"^radiograph.dcm: its {name} {problem}.*; correct its"):
        read_dicom(path)


def test_whole_numbers_too(make_dicom):
    path = overwrite(make_dicom(pixels=PIXELS), "NumberOfFrames", b"one", "IS")
    with pytest.raises(errors.UnreadableFileError, match="its Number of Frames is not a number"):
        read_dicom(path)


@pytest.mark.parametrize("value", [b" 1000 ", b"+1000", b"1E3", b"1000.0"])
def test_numbers_in_any_form(make_dicom, value):
    path = overwrite(make_dicom(pixels=PIXELS, **WINDOW), "WindowCenter", value)
    expected = np.clip((PIXELS - 999.5) / 499 + 0.5, 0, 1)
    np.testing.assert_allclose(read_dicom(path)[0], expected, atol=1e-6)


def test_empty_elements_are_none(make_dicom):
    path = make_dicom(pixels=PIXELS, WindowCenter="", WindowWidth="", RescaleSlope="", RescaleIntercept="")
    np.testing.assert_allclose(read_dicom(path)[0], PIXELS / 1100, atol=1e-6)


@pytest.mark.parametrize("value", [b"0.1,0.1", b"nan\\nan", b"0.1\\", b"inf\\0.1"])
def test_an_invalid_spacing_is_unknown(make_dicom, value):
    path = overwrite(make_dicom(pixels=PIXELS), "PixelSpacing", value)
    assert np.isnan(read_dicom(path)[1]["spacing_mm"]).all()


def test_rescale_that_overflows_is_named(make_dicom):
    path = make_dicom(pixels=PIXELS, RescaleSlope="1e29", RescaleIntercept="0")
    with pytest.raises(errors.UnreadableFileError, match="its Rescale Slope and Rescale Intercept give values"):
        read_dicom(path)
