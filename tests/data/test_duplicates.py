from shutil import copy

from mtmedformer_monai.data.duplicates import find_duplicates
from tests.data.little_images import write_image


def test_a_repeated_or_linked_file_is_a_duplicate(tmp_path):
    first, other = write_image(tmp_path / "a.png"), write_image(tmp_path / "b.png")
    (tmp_path / "link.png").symlink_to(first)
    assert find_duplicates([first, other, tmp_path / "link.png", first]) == [(0, 2), (0, 3)]


def test_equal_content_under_another_name_is_a_duplicate(tmp_path):
    first = write_image(tmp_path / "a.png")
    assert find_duplicates([first, copy(first, tmp_path / "b.png")]) == [(0, 1)]


def test_files_of_equal_size_with_different_content_are_not_duplicates(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    assert find_duplicates([tmp_path / "a", tmp_path / "b"]) == []
