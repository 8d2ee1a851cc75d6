import pytest

from mtmedformer_monai.data import has_label_maps


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], False),
        ([{"image": "a.png", "masks": {"lung": "m.png"}, "labels": {"finding": "normal"}}], False),
        ([{"image": "a.png", "label": None}], False),
        ([{"image": "a.png"}, {"image": "b.png", "label": "b.nii.gz"}], True),
    ],
)
def test_label_maps_are_recognized_by_their_key(items, expected):
    assert has_label_maps(items) is expected
