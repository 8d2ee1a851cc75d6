"""Numbers that stand for the files of a run."""

from __future__ import annotations

from pathlib import Path

from mtmedformer_monai.deploy.inputs import InputFile, StudyInput
from mtmedformer_monai.deploy.privacy.anonymous_inputs import rename_inputs
from mtmedformer_monai.deploy.privacy.deidentify import Deidentifier
from mtmedformer_monai.deploy.results import Refusal


def test_files_of_one_name_in_two_inputs_have_numbers_of_their_own():
    """As on two discs with an `IM1` each."""
    right = InputFile(Path("/a/IM1.dcm"), "IM1.dcm", "1.2.1", "1.2")
    left = InputFile(Path("/b/IM1.dcm"), "IM1.dcm", "1.2.2", "1.2")
    other = InputFile(Path("/b/0.png"), "0.png")
    studies = [StudyInput("1.2", "1.2", (right, left)), StudyInput("", "0", (other,))]
    refused = [Refusal("IM1.dcm", "it is damaged", "BrokenPixelDataError")]
    renamed, renamed_refused = rename_inputs(studies, refused, Deidentifier(b"0" * 32))
    files = [file for study in renamed for file in study.files]
    assert [file.path for file in files] == [right.path, left.path, other.path]
    assert [file.source for file in files] == ["image_000002.dcm", "image_000003.dcm", "image_000001.png"]
    assert [file.alias for file in files] == ["image_000002", "image_000003", "image_000001"]
    assert [each.source for each in renamed_refused] == ["image_000004.dcm"]
