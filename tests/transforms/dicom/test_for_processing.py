import numpy as np
import pytest
from pydicom.dataset import Dataset

from mtmedformer_monai.transforms import LoadRadiographd, RefusedImageError, read_radiograph, render_for_processing
from mtmedformer_monai.transforms.dicom.for_processing import measure_density

RAW = {"PresentationIntentType": "FOR PROCESSING", "PixelIntensityRelationship": "LIN"}
FALLING = {**RAW, "PixelIntensityRelationshipSign": 1}


def header_of(**elements):
    header = Dataset()
    for keyword, value in {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 14, **FALLING, **elements}.items():
        if value is not None:
            setattr(header, keyword, value)
    return header


def raw_mammogram(picture, bits=14):
    """Makes detector counts of a breast whose attenuation is twice its gray values."""
    return np.round((2**bits - 1) * np.exp(-4.0 * picture)).astype(np.uint16)


def test_density_is_the_logarithm_of_the_lost_intensity():
    stored = np.array([[16000, 8000, 4000, 2000]], dtype=np.uint16)
    density, padding = measure_density(stored, header_of())
    np.testing.assert_allclose(np.diff(density[0]), np.log(2.0), rtol=1e-6)
    assert padding is None


@pytest.mark.parametrize(
    ("elements", "stored"),
    [
        ({"PixelIntensityRelationshipSign": 1}, [100, 400, 1600]),
        ({"PixelIntensityRelationshipSign": None}, [100, 400, 1600]),  # MONOCHROME1 is equivalent
        ({"PixelIntensityRelationship": None}, [100, 400, 1600]),
        ({"RescaleSlope": "2", "RescaleIntercept": "0"}, [100, 400, 1600]),
        ({"PixelIntensityRelationshipSign": 1, "RescaleSlope": "-1", "RescaleIntercept": "16383"}, [100, 400, 1600]),
        ({"PixelIntensityRelationshipSign": -1}, [1600, 400, 100]),
    ],
    ids=["falls", "no sign", "no relationship", "slope", "negative slope", "rises"],
)
def test_more_intensity_is_less_density(elements, stored):
    density, _ = measure_density(np.array([stored], dtype=np.uint16), header_of(**elements))
    assert np.all(np.diff(density[0]) < 0)


def test_logarithmic_values_are_unchanged():
    density, _ = measure_density(
        np.array([[100, 300, 900]], dtype=np.uint16), header_of(PixelIntensityRelationship="LOG")
    )
    np.testing.assert_array_equal(density, [[-100, -300, -900]])


def test_table_agrees_with_single_values():
    stored = np.random.default_rng(0).integers(5, 4000, (7, 9))
    table, padding = measure_density(stored.astype(np.uint16), header_of(PixelPaddingValue=17))
    direct, direct_padding = measure_density(
        np.append(stored, 4000)[None].astype(np.uint32), header_of(PixelPaddingValue=17)
    )
    assert padding is None or np.array_equal(padding.ravel(), direct_padding[0, :-1])
    np.testing.assert_allclose(np.diff(table.ravel()), np.diff(direct[0, :-1]), atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_rendering_does_not_depend_on_the_bit_depth(make_breast, side, bits):
    picture, breast = make_breast(160, 120, side)
    unit = render_for_processing(raw_mammogram(picture, bits), header_of(Modality="MG", BitsStored=bits))
    reference = render_for_processing(raw_mammogram(picture), header_of(Modality="MG"))
    assert unit.dtype == np.float32
    assert unit.shape == picture.shape
    assert unit[~breast].mean() < 0.02
    assert unit[breast].mean() > 0.1
    assert np.abs(unit - reference).mean() < 0.02  # with 10 bits, the densest tissue has only a few distinct values


def test_padding_is_black_and_does_not_affect_other_pixels(make_breast):
    picture, _ = make_breast(160, 120)
    stored = raw_mammogram(picture)
    padded = stored.copy()
    padded[:, 110:] = 0
    header = header_of(Modality="MG", PixelPaddingValue=0)
    unit, reference = render_for_processing(padded, header), render_for_processing(stored, header)
    assert unit[:, 110:].max() == 0.0
    np.testing.assert_allclose(unit[:, :100], reference[:, :100], atol=0.01)


def test_all_padding():
    stored = np.zeros((8, 8), dtype=np.uint16)
    assert render_for_processing(stored, header_of(Modality="MG", PixelPaddingValue=0)).max() == 0.0


def test_other_modalities_are_stretched_between_percentiles():
    stored = np.round(16000 * np.exp(-np.linspace(0, 4, 101))).astype(np.uint16)[:, None].repeat(8, axis=1)
    unit = render_for_processing(stored, header_of(Modality="DX"))
    np.testing.assert_allclose(unit[2:-2, 0], (np.linspace(0, 1, 101)[2:-2] - 0.005) / 0.99, atol=0.012)
    assert (unit.min(), unit.max()) == (0.0, 1.0)


def test_a_mammogram_without_a_breast_is_stretched():
    stored = np.array([[100, 1600]], dtype=np.uint16)  # the size of some real de-identified files
    np.testing.assert_allclose(render_for_processing(stored, header_of(Modality="MG")), [[1, 0]], atol=1e-6)


def test_option(make_dicom, make_breast):
    picture, _ = make_breast(160, 120)
    path = make_dicom(pixels=raw_mammogram(picture), bits=14, photometric="MONOCHROME1", modality="MG", **FALLING)
    rendered, raw = read_radiograph(path)[0], read_radiograph(path, for_processing="raw")[0]
    stored = raw_mammogram(picture).astype(np.float64)
    np.testing.assert_allclose(raw, 1.0 - (stored - stored.min()) / np.ptp(stored), atol=1e-5)
    assert np.abs(rendered - raw).mean() > 0.1
    np.testing.assert_array_equal(rendered, LoadRadiographd("image")({"image": path})["image"][0])
    with pytest.raises(
        RefusedImageError, match="it is FOR PROCESSING, and for_processing='refuse'; take the image FOR"
    ):
        LoadRadiographd("image", for_processing="refuse")({"image": path})


@pytest.mark.parametrize("knob", ["render", "refuse", "raw"])
def test_option_does_not_affect_images_for_presentation(make_dicom, knob):
    path = make_dicom(modality="MG", PresentationIntentType="FOR PRESENTATION", PixelIntensityRelationship="LIN")
    np.testing.assert_array_equal(read_radiograph(path, for_processing=knob)[0], read_radiograph(path)[0])


def test_a_window_in_a_dx_header_is_applied(make_dicom):
    path = make_dicom(modality="DX", WindowCenter="2048", WindowWidth="4096", **FALLING)
    np.testing.assert_array_equal(read_radiograph(path)[0], read_radiograph(path, for_processing="raw")[0])


def test_storage_class_is_sufficient(make_dicom):
    path = make_dicom(modality="MG", SOPClassUID="1.2.840.10008.5.1.4.1.1.1.2.1")
    with pytest.raises(RefusedImageError, match="FOR PROCESSING"):
        read_radiograph(path, for_processing="refuse")


def test_unknown_option(make_dicom):
    with pytest.raises(ValueError, match="for_processing expects"):
        read_radiograph(make_dicom(), for_processing="yes")
    with pytest.raises(ValueError, match="for_processing expects 'render', 'refuse' or 'raw', got 'yes'"):
        LoadRadiographd("image", for_processing="yes")
