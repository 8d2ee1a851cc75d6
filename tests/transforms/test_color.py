import numpy as np
import pytest
from pydicom.dataset import Dataset

from mtmedformer_monai.transforms.color import to_luminance


def header_of(bits=8):
    header = Dataset()
    header.BitsStored, header.PixelRepresentation = bits, 0
    return header


def test_rgb_by_hand():
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [51, 51, 51]]], dtype=np.uint8)
    expected = [[0.299, 0.587, 0.114, 1.0, 0.2]]
    np.testing.assert_allclose(to_luminance(pixels, "RGB", header_of()), expected, atol=1e-6)


def test_sixteen_bit_rgb():
    pixels = np.full((1, 1, 3), 65535, dtype=np.uint16)
    np.testing.assert_allclose(to_luminance(pixels, "RGB", header_of(16)), [[1.0]], atol=1e-6)


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_y_is_the_luminance(photometric):
    pixels = np.array([[[51, 3, 250], [255, 128, 128]]], dtype=np.uint8)
    np.testing.assert_allclose(to_luminance(pixels, photometric, header_of()), [[0.2, 1.0]], atol=1e-6)


def test_palette():
    header = header_of()
    header.file_meta = Dataset()
    for color, value in (("Red", 65535), ("Green", 0), ("Blue", 65535)):
        setattr(header, f"{color}PaletteColorLookupTableDescriptor", [2, 0, 16])
        setattr(header, f"{color}PaletteColorLookupTableData", np.array([0, value], "<u2").tobytes())
    luminance = to_luminance(np.array([[0, 1]], dtype=np.uint8), "PALETTE COLOR", header)
    np.testing.assert_allclose(luminance, [[0, 0.299 + 0.114]], atol=1e-4)


def test_another_color_space():
    with pytest.raises(NotImplementedError, match="CMYK"):
        to_luminance(np.zeros((1, 1, 4), dtype=np.uint8), "CMYK", header_of())
