import numpy as np
import pytest
from PIL import Image

from mtmedformer_monai.data import find_studies


def test_dicom_files_are_grouped_by_study_uid_in_any_folder(make_dicom, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = {"modality": "MG", "StudyInstanceUID": "1.2.3", "ImageLaterality": "R", "ViewPosition": "CC"}
    make_dicom(name="a/1.dcm", **one)
    make_dicom(name="b/2.dcm", **{**one, "ImageLaterality": "L", "ViewPosition": "MLO"})
    make_dicom(name="b/3.dcm", **{**one, "StudyInstanceUID": "1.2.4"})
    found = find_studies(tmp_path)
    assert [item["study_id"] for item in found] == ["1.2.3", "1.2.3", "1.2.4"]
    assert [(item["laterality"], item["view"]) for item in found] == [("R", "CC"), ("L", "MLO"), ("R", "CC")]


def test_other_files_are_grouped_by_folder(tmp_path):
    for name in ("anna/left.png", "anna/right.png", "berta/left.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name)
    (tmp_path / "berta/broken.dcm").write_bytes(b"\0" * 200)
    found = find_studies(tmp_path)
    assert [item["study_id"] for item in found] == ["anna", "anna", "berta", "berta"]
    assert not any("view" in item for item in found)


def test_a_missing_path_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match="no image at"):
        find_studies(tmp_path / "none")


def test_headers_without_preamble_in_linked_folders(make_dicom, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "in").mkdir()
    path = make_dicom(name="store/a", modality="MG", StudyInstanceUID="1.2.3", ImageLaterality=" R", ViewPosition="cc")
    path.write_bytes(path.read_bytes()[132:])
    (tmp_path / "in/link").symlink_to(tmp_path / "store")
    expected = {"image": str(tmp_path / "in/link/a"), "study_id": "1.2.3", "laterality": "R", "view": "CC"}
    assert find_studies(tmp_path / "in") == [expected]
