import json

from mtmedformer_monai.transforms import read_radiograph
from mtmedformer_monai.transforms.dicom.header import read_uids
from mtmedformer_monai.transforms.radiograph_meta import describe_meta, make_meta


def test_description_has_uids_and_no_patient_attributes(make_dicom):
    path = make_dicom(
        rows=6, columns=4, modality="DX", BodyPartExamined="CHEST", ViewPosition="PA", ImageLaterality="U",
        ImagerPixelSpacing=[0.2, 0.1],
    )  # fmt: skip
    described = describe_meta(read_radiograph(path)[1])
    root = "1.2.826.0.1.3680043.8.498"
    assert described == {
        "size": [6, 4],
        "spacing_mm": [0.2, 0.1],
        "modality": "DX",
        "laterality": None,
        "view": "PA",
        "sop_instance_uid": f"{root}.1",
        "study_instance_uid": f"{root}.2",
        "series_instance_uid": f"{root}.3",
        "flags": [],
    }
    text = json.dumps(described)
    assert "Doe" not in text
    assert "4711" not in text


def test_flags_are_listed():
    meta = make_meta("a.png", (3, 2), flags="a lateral view; not verified")
    assert describe_meta(meta)["flags"] == ["a lateral view", "not verified"]
    assert describe_meta(meta)["spacing_mm"] is None


def test_invalid_uids_are_ignored():
    assert read_uids({"SOPInstanceUID": "Doe^Jane", "StudyInstanceUID": "1.2.3\0"}) == ("", "", "1.2.3")
