import pytest
from pydicom.dataset import Dataset

from mtmedformer_monai.transforms.dicom.body_part import read_body_part


def header(text=None, *codes):
    ds, items = Dataset(), []
    if text is not None:
        ds.BodyPartExamined = text
    for code in codes:
        item = Dataset()
        item.CodeValue = code
        items.append(item)
    if codes:
        ds.AnatomicRegionSequence = items
    return ds


@pytest.mark.parametrize(
    ("text", "codes", "part"),
    [
        ("CHEST", (), "chest"),
        ("Port. Chest ", (), "chest"),
        ("THORAX", (), "chest"),
        (None, ("816094009",), "chest"),
        (None, ("T-D3000",), "chest"),
        (None, ("416550000",), "chest"),
        ("", ("39607008",), "chest"),
        ("HIP", (), "other"),
        ("EXTREMITY", (), "other"),
        ("TSPINE", (), "other"),
        ("THORACIC SPINE", (), "other"),
        (None, ("29836001",), "other"),
        ("BREAST", (), "breast"),
        (None, ("T-04000",), "breast"),
        (None, (), "unknown"),
        ("UNKNOWN", (), "unknown"),
        ("", ("",), "unknown"),
        ("CHEST", ("29836001",), "unknown"),
    ],
)
def test_body_part(text, codes, part):
    assert read_body_part(header(text, *codes)) == part
