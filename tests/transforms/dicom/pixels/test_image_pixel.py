import pytest
from pydicom.dataset import Dataset

from mtmedformer_monai.transforms import errors
from mtmedformer_monai.transforms.dicom.pixels.image_pixel import ImagePixel, read_image_pixel

SOUND = {
    "Rows": 4, "Columns": 6, "SamplesPerPixel": 1, "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11,
    "PixelRepresentation": 0, "PhotometricInterpretation": "MONOCHROME2",
}  # fmt: skip
COLOR = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}


def header_of(**elements):
    header = Dataset()
    header.PixelData = bytes(48)
    for keyword, value in {**SOUND, **elements}.items():
        if value is not None:
            setattr(header, keyword, value)
    return header


def test_gray():
    expected = ImagePixel(4, 6, 1, 16, 12, 11, is_signed=False, is_planar=False, photometric="MONOCHROME2")
    assert read_image_pixel("a", header_of()) == expected
    assert expected.num_bytes == 48


def test_color_by_plane():
    image_pixel = read_image_pixel("a", header_of(**COLOR, PlanarConfiguration=1))
    assert (image_pixel.samples, image_pixel.is_planar, image_pixel.num_bytes) == (3, True, 72)


@pytest.mark.parametrize(
    ("elements", "num_bytes"),
    [({"BitsAllocated": 1, "BitsStored": 1}, 3), ({**COLOR, "PhotometricInterpretation": "YBR_FULL_422"}, 48)],
    ids=["one bit", "pairs"],
)
def test_num_bytes(elements, num_bytes):
    assert read_image_pixel("a", header_of(**elements)).num_bytes == num_bytes


def test_missing_elements():
    image_pixel = read_image_pixel(
        "a", header_of(SamplesPerPixel=None, BitsStored=None, HighBit=None, PixelRepresentation=None)
    )
    assert (image_pixel.samples, image_pixel.bits_stored, image_pixel.high_bit, image_pixel.is_signed) == (
        1,
        16,
        15,
        False,
    )


@pytest.mark.parametrize(
    ("elements", "error", "problem"),
    [
        ({"NumberOfFrames": "3"}, errors.MultiFrameError, "it has 3 frames"),
        ({"Rows": 0}, errors.NoPixelsError, "0 rows x 6 columns"),
        ({"Columns": None}, errors.NoPixelsError, "4 rows x 0 columns"),
        ({"Rows": 65535, "Columns": 65535}, errors.BrokenPixelDataError, "more than the 134,217,728 pixels"),
        ({"Rows": [4, 4]}, errors.UnreadableFileError, "its Rows is not a whole number"),
        ({"BitsAllocated": 12}, errors.BrokenPixelDataError, "12 bits stored of 12 allocated"),
        ({"BitsStored": 17}, errors.BrokenPixelDataError, "17 bits stored of 16 allocated"),
        ({"BitsStored": 0}, errors.BrokenPixelDataError, "0 bits stored"),
        ({"SamplesPerPixel": 3}, errors.BrokenPixelDataError, "3 samples per pixel, but MONOCHROME2 has 1"),
        ({"PhotometricInterpretation": "HSV"}, errors.UnsupportedImageError, "Photometric Interpretation is HSV"),
        ({"PhotometricInterpretation": None}, errors.UnsupportedImageError, "Interpretation is missing"),
    ],
)
def test_refusals(elements, error, problem):
    with pytest.raises(error, match=problem):
        read_image_pixel("a.dcm", header_of(**elements))


def test_no_pixel_data():
    header = header_of()
    del header.PixelData
    with pytest.raises(errors.NoPixelsError, match="no pixel data"):
        read_image_pixel("a.dcm", header)
    header.FloatPixelData = bytes(4)
    with pytest.raises(errors.UnsupportedImageError, match="floating point"):
        read_image_pixel("a.dcm", header)
