"""Names of outputs: safe for any text, the same in every run, and never outside the folder."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mtmedformer_monai.deploy.output_paths import image_name, inside, safe_name, study_folder

ANY_TEXT = st.text(st.characters(codec=None), max_size=200)
SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


@given(ANY_TEXT)
@example("\ud800")
@example("\udcff.png")
def test_every_text_gives_a_name_of_one_component(text):
    for name in (safe_name(text), study_folder(text, "/in/a.png"), image_name([text, None, text], "1.2")):
        assert SAFE.fullmatch(name)
        assert len(Path(name).parts) == 1


@pytest.mark.parametrize("uid", ["..", ".", "1..2", "/etc/1.2", "1.2/../3", "1" * 70, "1.2\n"])
def test_an_invalid_study_uid_does_not_become_a_folder(uid):
    assert study_folder(uid, "/in/a.dcm").startswith("study_")


def test_a_valid_study_uid_is_the_folder():
    assert study_folder("1.2.840.1", "/in/a.dcm") == "1.2.840.1"


def test_files_of_the_same_name_in_different_folders_get_different_studies():
    assert study_folder("", "/a/x.png") != study_folder("", "/b/x.png")


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.2").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="outside the output folder"):
        inside(tmp_path / "out", "1.2")
    assert inside(tmp_path / "out", "1.3") == tmp_path / "out" / "1.3"
