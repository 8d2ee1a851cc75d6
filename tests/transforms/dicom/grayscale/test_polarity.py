import pytest
from pydicom.dataset import Dataset

from mtmedformer_monai.transforms.dicom.grayscale.polarity import is_inverse


@pytest.mark.parametrize(
    ("photometric", "shape", "inverse"),
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
    ],
)
def test_for_presentation(photometric, shape, inverse):
    header = Dataset()
    header.PhotometricInterpretation = photometric
    header.PixelIntensityRelationshipSign = 1  # not relevant here: the values are intended for display
    if shape:
        header.PresentationLUTShape = shape
    assert is_inverse(header) is inverse


@pytest.mark.parametrize(
    ("sign", "slope", "inverse"), [(1, "1", True), (-1, "1", False), (1, "-1", False), (-1, "-2", True)]
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_for_processing_uses_the_intensity_sign(photometric, sign, slope, inverse):
    header = Dataset()
    header.PhotometricInterpretation, header.PresentationIntentType = photometric, "FOR PROCESSING"
    header.PixelIntensityRelationshipSign, header.RescaleSlope = sign, slope
    header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.2.1"
    assert is_inverse(header) is inverse
