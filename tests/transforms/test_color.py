import numpy as np
import pytest
from pydicom import uid
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


def palette_of(entries, bits, syntax=uid.ExplicitVRLittleEndian, first=0, vr="US"):
    header = header_of()
    header.file_meta = Dataset()
    header.file_meta.TransferSyntaxUID = syntax
    order = "<" if syntax.is_little_endian else ">"
    for color in ("Red", "Green", "Blue"):
        header.add_new(f"{color}PaletteColorLookupTableDescriptor", vr, [len(entries), first, bits])
        header.add_new(f"{color}PaletteColorLookupTableData", "OW", np.array(entries, f"{order}u2").tobytes())
    return header


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian], ids=lambda uid: uid.name)
@pytest.mark.parametrize("used", [8, 12, 16])
def test_palette_whose_entries_use_fewer_bits_than_it_declares(syntax, used):
    full = 2**used - 1
    header = palette_of([0, full // 3, full], 16, syntax)
    indices = np.array([[0, 1, 2, 200]], dtype=np.uint8)
    # 1 / 3 of 12 or 8 bits is an integer; indices beyond the palette map to its last entry
    np.testing.assert_allclose(to_luminance(indices, "PALETTE COLOR", header), [[0, 1 / 3, 1, 1]], atol=1e-4)


def test_white_does_not_depend_on_the_indices_that_occur():
    header = palette_of([0, 100, 200, 255], 8)
    dark = to_luminance(np.array([[0, 1]], dtype=np.uint8), "PALETTE COLOR", header)
    np.testing.assert_allclose(dark, [[0, 100 / 255]], atol=1e-6)


def test_palettes_with_an_offset_and_with_signed_indices():
    header = palette_of([0, 255], 8, first=3)
    np.testing.assert_allclose(to_luminance(np.array([[3, 4]], np.uint8), "PALETTE COLOR", header), [[0, 1]], atol=1e-6)
    header = palette_of([0, 255], 8, first=-1, vr="SS")
    header.PixelRepresentation = 1
    np.testing.assert_allclose(to_luminance(np.array([[-1, 0]], np.int8), "PALETTE COLOR", header), [[0, 1]], atol=1e-6)


def test_segmented_palette():
    """In PS3.3 C.7.9.2.1, opcode 0 lists two entries, and opcode 1 interpolates in two steps to 300."""
    header = palette_of([0], 16)
    for color in ("Red", "Green", "Blue"):
        del header[f"{color}PaletteColorLookupTableData"]
        setattr(header, f"{color}PaletteColorLookupTableDescriptor", [4, 0, 16])
        segments = np.array([0, 2, 0, 100, 1, 2, 300], "<u2").tobytes()
        header.add_new(f"Segmented{color}PaletteColorLookupTableData", "OW", segments)
    luminance = to_luminance(np.arange(4, dtype=np.uint8)[None], "PALETTE COLOR", header)
    np.testing.assert_allclose(luminance * 511, [[0, 100, 200, 300]], atol=1e-3)


def test_unsupported_color_space():
    with pytest.raises(NotImplementedError, match="CMYK"):
        to_luminance(np.zeros((1, 1, 4), dtype=np.uint8), "CMYK", header_of())
