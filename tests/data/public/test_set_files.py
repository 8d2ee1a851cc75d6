import logging

import pytest

from mtmedformer_monai.data.public.set_files import RADIOGRAPHS, SetFolder, place_of
from tests.data.little_images import write_lines


def set_of(folder, *names):
    for name in names:
        write_lines(folder / name, ["a,b", "1,2"])
    return SetFolder(folder, "release 1 of the set")


def test_files_are_found_at_any_depth_and_case_except_hidden_ones(tmp_path):
    files = set_of(
        tmp_path, "Images/1.DCM", "x/y/images/2.png", "images/.3.dcm", "__MACOSX/images/4.png", "masks/5.png"
    )
    assert list(files.by_stem("(^|/)images/", RADIOGRAPHS)) == ["1", "2"]


def test_files_that_a_conversion_wrote_are_ignored(tmp_path):
    names = "masks_inbreast/1.png", "lists/images_mini_mias/2.png", "images_001/3.png", "masks_nih/4.png"
    assert list(set_of(tmp_path / "masks_siim_acr", *names).by_stem("", RADIOGRAPHS)) == ["3", "4"]


def test_dicom_files_and_then_the_uppermost_copies_take_precedence(tmp_path):
    files = set_of(tmp_path, "png/1.png", "deep/er/1.dcm", "a/2.png", "a/b/2.png")
    found = files.by_stem("", RADIOGRAPHS)
    assert found == {"1": tmp_path / "deep/er/1.dcm", "2": tmp_path / "a/2.png"}


def test_links_to_folders_are_followed_once(tmp_path):
    write_lines(tmp_path / "elsewhere" / "1.png", [])
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "images").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "set", target_is_directory=True)
    assert [path.name for path in SetFolder(tmp_path / "set", "").find("", (".png",))] == ["1.png"]


def test_missing_files_are_reported_with_those_found_and_the_supported_release(tmp_path):
    files = set_of(tmp_path, *(f"a/{number}.txt" for number in range(10)))
    with pytest.raises(FileNotFoundError) as error:
        files.images("^images/", RADIOGRAPHS, "images/*.dcm")
    for part in ("expects images/*.dcm", "found a/0.txt, ", " and 2 more", "release 1 of the set"):
        assert part in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"expects the dataset's table list\.csv"):
        files.table("list", "list.csv", ["a"])


@pytest.mark.parametrize("name", ["table_v2.csv", "deep/TABLE.csv"])
def test_a_table_is_found_in_any_folder(tmp_path, name):
    assert set_of(tmp_path, name).table("table(_v2)?", "table.csv", ["b"]) == [{"a": "1", "b": "2"}]


def test_only_paths_inside_the_dataset_are_relative(tmp_path):
    assert place_of(tmp_path / "set" / "a" / "1.png", tmp_path / "set") == "a/1.png"
    assert place_of(tmp_path / "masks" / "1.png", tmp_path / "set") == str(tmp_path / "masks" / "1.png")


def test_a_subset_of_the_images_is_sufficient_but_not_none(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    files = set_of(tmp_path, "other.png")
    files.log_present(2, 5)
    assert "2 of the 5 listed images" in caplog.text
    with pytest.raises(
        FileNotFoundError, match=r"expects images that its tables list \(5\); found other\.png\. Supported"
    ):
        files.log_present(0, 5)
