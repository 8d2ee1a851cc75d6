import json

import pytest

from mtmedformer_monai.data import load_datalist, read_datalist, save_datalist


def test_saving_and_reading_is_lossless(tmp_path):
    datalist = {"training": [{"image": "a.png", "labels": {"finding": "normal"}}], "name": "ä"}
    path = save_datalist(datalist, tmp_path / "new" / "datalist.json")
    assert read_datalist(path) == datalist


def test_paths_are_made_absolute_and_absolute_ones_kept(tmp_path):
    items = [{"image": "a.png", "masks": {"lung": "m/a.png", "heart": None}}, {"image": "/elsewhere/b.png"}]
    path = save_datalist({"training": items}, tmp_path / "datalist.json")
    first, second = load_datalist(path, "training")
    assert first == {"image": str(tmp_path / "a.png"), "masks": {"lung": str(tmp_path / "m" / "a.png")}}
    assert second == {"image": "/elsewhere/b.png"}


def test_relative_paths_start_from_the_given_folder(tmp_path):
    path = save_datalist({"test": [{"image": "a.png"}]}, tmp_path / "datalist.json")
    assert load_datalist(path, "test", tmp_path / "images") == [{"image": str(tmp_path / "images" / "a.png")}]


@pytest.mark.parametrize(
    ("content", "match"),
    [("{", "not valid JSON"), ("[]", "expects one or more"), ('{"train": []}', "expects one or more")],
    ids=["broken", "a list", "other names"],
)
def test_other_files_are_rejected(tmp_path, content, match):
    (tmp_path / "datalist.json").write_text(content)
    with pytest.raises(ValueError, match=match):
        read_datalist(tmp_path / "datalist.json")


def test_a_missing_datalist_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match="create one with"):
        read_datalist(tmp_path / "none.json")


@pytest.mark.parametrize("content", [{"training": []}, {"training": [{"image": "a"}], "test": []}])
def test_an_empty_section_is_reported(tmp_path, content):
    path = save_datalist(content, tmp_path / "datalist.json")
    with pytest.raises(ValueError, match="no items under 'test'"):
        load_datalist(path, "test")


def test_an_item_without_an_image_is_reported(tmp_path):
    (tmp_path / "datalist.json").write_text(json.dumps({"test": [{"image": "a"}, {"labels": {}}]}))
    with pytest.raises(ValueError, match=r"test\[1\] of the datalist has no 'image'"):
        load_datalist(tmp_path / "datalist.json", "test")


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_is_reported_with_the_remedy(tmp_path, encoding):
    path = tmp_path / "list.json"
    path.write_text('{"training": [{"image": "Lungé.png"}]}', encoding=encoding)
    with pytest.raises(ValueError, match=r"list\.json is not UTF-8 .*; save it as UTF-8"):
        read_datalist(path)


def test_a_byte_order_mark_is_accepted(tmp_path):
    path = tmp_path / "list.json"
    path.write_text('{"training": [{"image": "Lungé.png"}]}', encoding="utf-8-sig")
    assert read_datalist(path) == {"training": [{"image": "Lungé.png"}]}
