import logging

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.transforms import Compose

from mtmedformer_monai.transforms import LoadRadiographd
from mtmedformer_monai.transforms.errors import NoPixelsError


def test_contract(make_dicom):
    path = make_dicom(rows=7, columns=5, PixelSpacing=[0.2, 0.1])
    image = LoadRadiographd("image")({"image": path, "patient_id": "1"})["image"]
    assert isinstance(image, MetaTensor)
    assert image.dtype == torch.float32
    assert image.shape == (1, 7, 5)
    assert 0.0 <= image.min() < image.max() <= 1.0
    assert image.meta["filename_or_obj"] == str(path)
    # one row is 0.2 mm, one column is 0.1 mm
    np.testing.assert_allclose(image.affine[:2, :2], np.diag([0.2, 0.1]))


def test_metadata_survive_a_batch(make_dicom):
    load = LoadRadiographd("image")
    items = [
        load({"image": make_dicom(name="a.dcm", ViewPosition="PA", PixelSpacing=[0.2, 0.1])}),
        load({"image": make_dicom(name="b.dcm", ImageLaterality="L")}),
    ]
    for before, after in zip(items, decollate_batch(list_data_collate(items)), strict=True):
        ours, theirs = before["image"].meta, after["image"].meta
        for key in ("filename_or_obj", "laterality", "view", "modality", "patient_orientation"):
            assert ours[key] == theirs[key]
        for key in ("source_shape", "to_source", "spacing_mm"):
            np.testing.assert_array_equal(np.asarray(ours[key]), np.asarray(theirs[key]))


def test_datalist_fills_in_missing_header_values(make_dicom):
    item = {"image": make_dicom(modality="MG"), "laterality": "left", "view": "L-MLO"}
    meta = LoadRadiographd("image")(item)["image"].meta
    assert (meta["laterality"], meta["view"]) == ("L", "MLO")


def test_header_takes_precedence_with_one_warning(make_dicom, caplog):
    path = make_dicom(modality="MG", ImageLaterality="R", ViewPosition="CC")
    load = LoadRadiographd("image")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            meta = load({"image": path, "laterality": "L", "view": "MLO"})["image"].meta
    assert (meta["laterality"], meta["view"]) == ("R", "CC")
    assert caplog.messages == [
        "radiograph.dcm: its header and the datalist name different sides; the header takes precedence."
    ]


def test_a_list_of_one_path(make_dicom):
    assert LoadRadiographd("image")({"image": [str(make_dicom())]})["image"].shape == (1, 16, 12)


@pytest.mark.parametrize("value", [np.zeros((2, 2)), torch.zeros(1, 2, 2), None, ["a", "b"]])
def test_not_a_path(value):
    with pytest.raises(TypeError, match="expects a path under 'image'"):
        LoadRadiographd("image")({"image": value})


def test_missing_keys():
    assert LoadRadiographd("image", allow_missing_keys=True)({"a": 1}) == {"a": 1}
    with pytest.raises(KeyError, match="image"):
        LoadRadiographd("image")({"a": 1})


def test_error_is_the_cause_inside_compose(make_dicom):
    with pytest.raises(RuntimeError) as caught:
        Compose([LoadRadiographd("image")])({"image": make_dicom(PixelData=None)})
    assert isinstance(caught.value.__cause__, NoPixelsError)


def test_arguments():
    with pytest.raises(ValueError, match="modalities expects a list"):
        LoadRadiographd("image", modalities="DX")
    with pytest.raises(ValueError, match="voi_index expects 0 or more, got -1"):
        LoadRadiographd("image", voi_index=-1)
