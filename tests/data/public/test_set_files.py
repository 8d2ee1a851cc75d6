import logging

import pytest

from mtmedformer_monai.data.public.set_files import find_root, index_files, place_of, tell_present
from tests.data.little_images import write_lines


def test_files_are_told_by_name_over_all_patterns(tmp_path):
    paths = [write_lines(tmp_path / name, []) for name in ("a/1.dcm", "a/.2.dcm", "b/deep/3.dcm", "b/4.txt")]
    assert index_files(tmp_path, "a/*.dcm", "b/**/*.dcm") == {"1.dcm": paths[0], "3.dcm": paths[2]}


def test_nothing_found_names_what_is_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expects a/\*.dcm or b/\*.dcm; unpack"):
        index_files(tmp_path, "a/*.dcm", "b/*.dcm")


def test_the_root_may_lie_deeper(tmp_path):
    write_lines(tmp_path / "inner" / "table.csv", [])
    assert find_root(tmp_path, "table.csv", "outer", "inner") == tmp_path / "inner"
    with pytest.raises(FileNotFoundError, match=r"expects other\.csv in itself or inner"):
        find_root(tmp_path, "other.csv", "inner")


def test_a_place_is_relative_within_the_set_alone(tmp_path):
    assert place_of(tmp_path / "set" / "a" / "1.png", tmp_path / "set") == "a/1.png"
    assert place_of(tmp_path / "masks" / "1.png", tmp_path / "set") == str(tmp_path / "masks" / "1.png")


def test_a_part_of_a_set_will_do_and_nothing_of_it_will_not(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    tell_present(2, 5, tmp_path)
    assert "2 of the 5 images" in caplog.text
    with pytest.raises(FileNotFoundError, match="got none"):
        tell_present(0, 5, tmp_path)


def test_folders_of_a_set_may_be_links(tmp_path):
    path = write_lines(tmp_path / "store" / "deep" / "1.dcm", [])
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "images").symlink_to(tmp_path / "store")
    for pattern in ("images/**/*.dcm", "**/*.dcm", "images/deep/*.dcm", "images/*/*.dcm"):
        assert index_files(tmp_path / "set", pattern)["1.dcm"].resolve() == path
