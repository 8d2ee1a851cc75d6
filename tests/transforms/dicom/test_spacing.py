import numpy as np
import pytest
from pydicom.dataset import Dataset

from mtmedformer_monai.transforms.dicom.spacing import read_spacing_mm


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        pytest.param({}, [np.nan, np.nan], id="unknown"),
        pytest.param({"PixelSpacing": [0.1, 0.2]}, [0.1, 0.2], id="calibrated, alone"),
        pytest.param({"PixelSpacing": [0.25] * 2, "ImagerPixelSpacing": [0.5] * 2}, [0.25] * 2, id="calibrated"),
        pytest.param({"ImagerPixelSpacing": [0.2, 0.3]}, [0.2, 0.3], id="detector"),
        pytest.param(
            {"ImagerPixelSpacing": [0.3] * 2, "EstimatedRadiographicMagnificationFactor": "1.5"},
            [0.2] * 2,
            id="magnified",
        ),
        pytest.param(
            {
                "PixelSpacing": [0.3] * 2,
                "ImagerPixelSpacing": [0.3] * 2,
                "DistanceSourceToDetector": "1800",
                "DistanceSourceToPatient": "1500",
            },
            [0.25] * 2,
            id="a copy of the detector's, magnified by the distances",
        ),
        pytest.param({"PixelSpacing": [0.0, 0.0], "ImagerPixelSpacing": [0.2] * 2}, [0.2] * 2, id="zero is unknown"),
        pytest.param({"NominalScannedPixelSpacing": [0.05] * 2}, [0.05] * 2, id="scanned film"),
        pytest.param({"PixelSpacing": [0.1]}, [np.nan] * 2, id="one value"),
    ],
)
def test_spacing(elements, expected):
    header = Dataset()
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    np.testing.assert_allclose(read_spacing_mm(header), expected)
