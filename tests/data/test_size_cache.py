import os
from pathlib import Path

from mtmedformer_monai.data.image_size import read_image_size
from mtmedformer_monai.data.size_cache import SizeCache
from tests.data.little_images import write_image


def no_reading(path: Path):
    raise AssertionError(f"{path} is read again")


no_reading.__name__ = read_image_size.__name__


def test_sizes_are_read_only_once(tmp_path):
    image = write_image(tmp_path / "a.png", width=12, height=8)
    first = SizeCache(tmp_path / "new" / "sizes.json")
    assert first.read(image, read_image_size) == (8, 12)
    first.save()
    assert SizeCache(tmp_path / "new" / "sizes.json").read(image, no_reading) == (8, 12)


def test_a_changed_file_is_opened_again(tmp_path):
    image = write_image(tmp_path / "a.png", width=12, height=8)
    first = SizeCache(tmp_path / "sizes.json")
    first.read(image, read_image_size)
    first.save()
    write_image(image, width=6, height=4)
    os.utime(image, ns=(1, 1))
    assert SizeCache(tmp_path / "sizes.json").read(image, read_image_size) == (4, 6)


def test_a_damaged_file_of_sizes_is_ignored(tmp_path):
    image = write_image(tmp_path / "a.png", width=12, height=8)
    for content in ("{", "[]", '{"code": "", "sizes": 3}'):
        (tmp_path / "sizes.json").write_text(content)
        assert SizeCache(tmp_path / "sizes.json").read(image, read_image_size) == (8, 12)
