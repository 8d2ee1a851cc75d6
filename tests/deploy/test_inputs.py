"""Finding the files of a run: grouped by study, each image once, without the results of an earlier run."""

import shutil

import pytest
from PIL import Image

from mtmedformer_monai.deploy.inputs import find_inputs
from mtmedformer_monai.deploy.privacy.anonymous_inputs import rename_inputs
from mtmedformer_monai.deploy.privacy.deidentify import Deidentifier

ROOT = "1.2.826.0.1.3680043.8.498"


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8)).save(path)
    return path


def test_files_are_grouped_by_study_in_any_folder(make_dicom, tmp_path):
    (tmp_path / "a").mkdir()
    for name, study, image in (("1.dcm", "7", "1"), ("a/2.dcm", "8", "2"), ("a/3.dcm", "7", "3")):
        uids = {"StudyInstanceUID": f"{ROOT}.{study}", "SOPInstanceUID": f"{ROOT}.{image}"}
        make_dicom(name=name, **uids)
    picture(tmp_path / "a" / "4.png")
    studies, refused = find_inputs([tmp_path])
    assert [[file.source for file in study.files] for study in studies] == [
        ["1.dcm", "a/3.dcm"],
        ["a/2.dcm"],
        ["a/4.png"],
    ]
    assert [study.folder for study in studies[:2]] == [f"{ROOT}.7", f"{ROOT}.8"]
    assert studies[2].study_instance_uid == ""
    assert refused == ()


def test_a_copy_of_an_image_is_refused(make_dicom, tmp_path):
    shutil.copy(make_dicom(name="a.dcm"), tmp_path / "b.dcm")
    studies, refused = find_inputs([tmp_path])
    assert [file.source for file in studies[0].files] == ["a.dcm"]
    assert [(refusal.source, refusal.rule) for refusal in refused] == [("b.dcm", "duplicate")]
    assert "a.dcm" in refused[0].reason


def test_a_file_given_twice_is_read_once(make_dicom, tmp_path):
    path = make_dicom()
    studies, refused = find_inputs([path, tmp_path, path])
    assert (len(studies), len(studies[0].files), refused) == (1, 1, ())


def test_a_file_that_cannot_be_parsed_is_refused_and_the_rest_is_found(make_dicom, tmp_path):
    make_dicom(name="good.dcm")
    (tmp_path / "bad.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 50)
    (tmp_path / "text.png").write_text("no image")
    studies, refused = find_inputs([tmp_path])
    assert [file.source for study in studies for file in study.files] == ["good.dcm"]
    assert {refusal.source: refusal.rule for refusal in refused} == {
        "bad.dcm": "UnreadableFileError",
        "text.png": "UnreadableFileError",
    }


def test_results_inside_the_input_folder_are_ignored(make_dicom, tmp_path):
    make_dicom(name="a.dcm")
    picture(tmp_path / "out" / "1.2" / "overlay.png")
    assert len(find_inputs([tmp_path], tmp_path / "out")[0]) == 1
    assert len(find_inputs([tmp_path])[0]) == 2


def test_an_input_inside_the_output_folder_is_read(make_dicom, tmp_path):
    (tmp_path / "in").mkdir()
    make_dicom(name="in/a.dcm")
    assert len(find_inputs([tmp_path / "in"], tmp_path)[0]) == 1


def test_the_output_folder_itself_is_no_input(make_dicom, tmp_path):
    make_dicom()
    with pytest.raises(FileNotFoundError, match="choose another --input or --output"):
        find_inputs([tmp_path], tmp_path)


MIXED = [
    ({"PatientID": "A"}, {"PatientID": "B"}),
    ({"PatientID": "A", "IssuerOfPatientID": "X"}, {"PatientID": "A", "IssuerOfPatientID": "Y"}),
]
ALONE = [
    ({"PatientID": "A"}, {"PatientID": "A "}),
    ({"PatientID": None}, {"PatientID": None}),
    ({"PatientID": "A"}, {"PatientID": None}),
    ({"PatientID": "A", "IssuerOfPatientID": "X"}, {"PatientID": "A"}),
]


def find_two(make_dicom, tmp_path, first, second):
    """A study with two images, and one of a third patient."""
    make_dicom(name="1.dcm", SOPInstanceUID=f"{ROOT}.11", StudyInstanceUID=f"{ROOT}.7", **first)
    make_dicom(name="2.dcm", SOPInstanceUID=f"{ROOT}.12", StudyInstanceUID=f"{ROOT}.7", **second)
    make_dicom(name="3.dcm", SOPInstanceUID=f"{ROOT}.13", StudyInstanceUID=f"{ROOT}.8", PatientID="third")
    return find_inputs([tmp_path])


@pytest.mark.parametrize(("first", "second"), MIXED, ids=["patients", "issuers"])
def test_images_of_several_patients_with_one_study_uid_are_refused(make_dicom, tmp_path, first, second):
    studies, refused = find_two(make_dicom, tmp_path, first, second)
    assert [study.folder for study in studies] == [f"{ROOT}.8"]
    assert [(refusal.source, refusal.rule) for refusal in refused] == [("1.dcm", "patient"), ("2.dcm", "patient")]
    assert "correct the Study Instance UID" in refused[0].reason
    (renamed,), anonymous = rename_inputs(studies, refused, Deidentifier(b"0" * 32))
    assert [refusal.rule for refusal in anonymous] == ["patient", "patient"]
    assert renamed.files[0].alias == "image_000003"


@pytest.mark.parametrize(("first", "second"), ALONE, ids=["space", "unknown", "one unknown", "issuer unknown"])
def test_images_that_may_be_of_one_patient_are_a_study(make_dicom, tmp_path, first, second):
    studies, refused = find_two(make_dicom, tmp_path, first, second)
    assert [len(study.files) for study in studies] == [2, 1]
    assert refused == ()
