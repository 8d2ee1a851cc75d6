import numpy as np
import pytest
from pydicom import uid
from pydicom.pixels import apply_color_lut

from mtmedformer_monai.transforms.dicom.read import read_dicom
from tests.transforms.independent_reading import read_by_gdcm, show_by_pydicom
from tests.transforms.reading_matrix import (
    COLOR,
    GRAY,
    LOSSLESS,
    all_cases,
    covering_cases,
    make_samples,
    pairs_of,
    read_stored,
    write_case,
)

CASES = covering_cases()


def test_cases_cover_every_possible_pair():
    assert {pair for case in CASES for pair in pairs_of(case)} == {
        pair for case in all_cases() for pair in pairs_of(case)
    }
    assert len(CASES) < 200


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_before_and_after_scaling(tmp_path, case):
    path, samples = tmp_path / "a.dcm", make_samples(case)
    write_case(path, case, samples)
    header, stored, photometric = read_stored(path)
    if case.syntax in LOSSLESS:
        np.testing.assert_array_equal(stored, samples)
    else:
        assert np.abs(stored.astype(int) - samples).max() <= 0.1 * 2**case.stored
    if agrees_with_gdcm(case):
        others = read_by_gdcm(path)
        # GDCM does not extend the sign of near-lossless JPEG-LS
        mask = 2**case.stored - 1 if case.syntax == uid.JPEGLSNearLossless else -1
        np.testing.assert_array_equal(stored.astype(int) & mask, others.astype(int) & mask)
    image, _ = read_dicom(path)
    shown = show_by_pydicom if case.photometric in GRAY else luminance
    # two roundings to float32
    np.testing.assert_allclose(image, shown(header, stored.astype(int), photometric), atol=2e-7)


def agrees_with_gdcm(case):
    """Excludes bugs of GDCM 3.2: RLE of 16-bit color is wrong, and 8-bit JPEG-LS with 16 bits allocated aborts it."""
    if case.syntax == uid.RLELossless and case.photometric in COLOR and case.allocated == 16:
        return False
    return not (case.syntax == uid.JPEGLSNearLossless and case.stored <= 8 < case.allocated)


def luminance(header, stored, photometric):
    if photometric == "PALETTE COLOR":
        if not header.file_meta.TransferSyntaxUID.is_little_endian:  # pydicom assumes native byte order
            for color in ("Red", "Green", "Blue"):
                element = header[f"{color}PaletteColorLookupTableData"]
                element.value = np.frombuffer(element.value, ">u2").astype("<u2").tobytes()
        return apply_color_lut(stored.astype("u2"), header) @ [0.299, 0.587, 0.114] / 65535
    full = 2.0**header.BitsStored - 1
    return stored @ [0.299, 0.587, 0.114] / full if photometric == "RGB" else stored[..., 0] / full
