import io

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from mtmedformer_monai.transforms import errors
from mtmedformer_monai.transforms.dicom.read import read_dicom, read_header

PIXELS = np.arange(12, dtype=np.uint16).reshape(3, 4) * 100


def test_image_and_metadata(make_dicom):
    path = make_dicom(
        pixels=PIXELS,
        modality="MG",
        ImageLaterality="R",
        ViewPosition="RMLO",
        PatientOrientation=["P", "FL"],
        ImagerPixelSpacing=[0.1, 0.2],
    )
    image, meta = read_dicom(path)
    np.testing.assert_allclose(image, PIXELS / 1100, atol=1e-7)
    assert image.dtype == np.float32
    assert meta["source_shape"].tolist() == [3, 4]
    np.testing.assert_array_equal(meta["to_source"], np.eye(3))
    np.testing.assert_allclose(meta["spacing_mm"], [0.1, 0.2])
    assert (meta["laterality"], meta["view"], meta["modality"]) == ("R", "MLO", "MG")
    assert meta["patient_orientation"] == "P\\FL"
    assert meta["filename_or_obj"] == str(path)


def test_spacing_of_a_magnified_mammogram(make_dicom):
    path = make_dicom(modality="MG", ImagerPixelSpacing=[0.09, 0.09], EstimatedRadiographicMagnificationFactor="1.8")
    np.testing.assert_allclose(read_dicom(path)[1]["spacing_mm"], [0.05, 0.05])


def test_no_patient_attribute_is_read(make_dicom):
    path = make_dicom()
    header = read_header(path)
    assert "PatientName" not in header
    assert "Jane" not in str(header)
    assert "4711" not in str(read_dicom(path)[1])


def test_whole_chain(make_dicom, make_lut):
    """Applies the Modality LUT x + 1000, a VOI LUT that starts at 1100, inversion, and black padding."""
    path = make_dicom(
        pixels=np.array([[0, 100, 101, 102, 7]], dtype=np.uint16),
        photometric="MONOCHROME1",
        PresentationLUTShape="INVERSE",
        RescaleSlope="1",
        RescaleIntercept="1000",
        VOILUTSequence=[make_lut([0, 1023, 4095], first=1100, bits=12)],
        WindowCenter="1",
        WindowWidth="2",
        PixelPaddingValue=7,
    )
    np.testing.assert_allclose(read_dicom(path)[0], [[1, 1, 1 - 1023 / 4095, 0, 0]], atol=1e-7)


def test_voi_index(make_dicom):
    path = make_dicom(pixels=PIXELS, WindowCenter=["100", "1000"], WindowWidth=["50", "50"])
    assert (read_dicom(path, voi_index=1)[0] > 0).sum() < (read_dicom(path)[0] > 0).sum()
    with pytest.raises(errors.UnsupportedImageError, match="alternative 2 was requested, but there are 2; choose"):
        read_dicom(path, voi_index=2)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless])
def test_color(make_dicom, syntax):
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[:, 8:] = 255, 255, 255
    pixels[:, :8] = 200, 0, 0
    image, _ = read_dicom(make_dicom(pixels=pixels, bits=8, photometric="RGB", transfer_syntax=syntax))
    np.testing.assert_allclose(image[:, :8], 200 * 0.299 / 255, atol=1e-6)
    np.testing.assert_allclose(image[:, 8:], 1.0, atol=1e-6)


def test_color_of_a_jpeg(make_dicom):
    pixels = np.full((16, 16, 3), (200, 0, 0), dtype=np.uint8)
    path = make_dicom(pixels=pixels, bits=8, photometric="RGB")
    header, stream = pydicom.dcmread(path), io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95, subsampling=1)
    header.PixelData, header.PhotometricInterpretation = encapsulate([stream.getvalue()]), "YBR_FULL_422"
    header.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    header["PixelData"].VR = "OB"
    header.save_as(path)
    np.testing.assert_allclose(read_dicom(path)[0], 200 * 0.299 / 255, atol=0.02)  # lossy


def test_unknown_photometric_interpretation(make_dicom):
    with pytest.raises(errors.UnsupportedImageError, match="Photometric Interpretation is HSV; convert it"):
        read_dicom(make_dicom(pixels=np.zeros((4, 4), dtype=np.uint8), bits=8, PhotometricInterpretation="HSV"))


@pytest.mark.parametrize("modality", ["CT", "OT", None])
def test_modality_is_refused_unless_admitted(make_dicom, modality):
    path = make_dicom(Modality=modality)
    with pytest.raises(errors.UnsupportedModalityError, match=f"its modality is {modality or 'missing'}, but only CR"):
        read_dicom(path)
    assert read_dicom(path, modalities=None)[0].shape == (16, 12)


def test_admitting_a_modality(make_dicom):
    assert read_dicom(make_dicom(modality="XA"), modalities=("XA",))[1]["modality"] == "XA"


def test_modality_is_checked_before_the_pixels(make_dicom):
    with pytest.raises(errors.UnsupportedModalityError):
        read_dicom(make_dicom(modality="SR", PixelData=None))


def test_file_that_ends_in_its_pixels(make_dicom):
    path = make_dicom(transfer_syntax=uid.JPEGLosslessSV1)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(errors.BrokenPixelDataError, match="it ends inside its pixel data"):
        read_dicom(path)


def test_truncated_header(make_dicom):
    path = make_dicom()
    path.write_bytes(path.read_bytes()[:340])
    with pytest.raises(errors.UnreadableFileError, match="cut short or missing"):
        read_dicom(path)


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian])
def test_no_file_meta_group(make_dicom, syntax):
    path = make_dicom(pixels=PIXELS, transfer_syntax=syntax)
    full = pydicom.dcmread(path)
    bare = pydicom.Dataset({element.tag: element for element in full})
    bare.save_as(path, implicit_vr=syntax.is_implicit_VR, little_endian=True)
    np.testing.assert_allclose(read_dicom(path)[0], PIXELS / 1100, atol=1e-7)


def test_no_message_holds_a_patient_attribute(make_dicom):
    faults = [
        {"PixelData": None},
        {"Modality": "CT"},
        {"Rows": 65535, "Columns": 65535},
        {"Rows": 99},
        {"pixels": np.zeros((2, 3, 3), dtype=np.uint16)},
    ]
    for fault in faults:
        with pytest.raises(errors.RadiographError) as caught:
            read_dicom(make_dicom(**fault))
        message = str(caught.value)
        assert message.startswith("radiograph.dcm: ")
        assert "; " in message
        assert "Doe" not in message
        assert "4711" not in message
