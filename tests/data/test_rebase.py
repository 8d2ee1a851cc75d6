from pathlib import Path

import pytest

from mtmedformer_monai.data.rebase import datalist_path, rebase_datalist, rebase_item


def test_paths_below_the_new_folder_are_relative_and_others_absolute(tmp_path):
    item = {"image": "set/a.png", "masks": {"lung": "../elsewhere/m.png"}, "labels": {"finding": "normal"}}
    assert rebase_item(item, tmp_path / "raw", tmp_path / "raw" / "set") == {
        "image": "a.png",
        "masks": {"lung": str(tmp_path / "elsewhere" / "m.png")},
        "labels": {"finding": "normal"},
    }


def test_relative_folders_are_accepted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert rebase_item({"image": "a.png"}, Path("raw"), Path())["image"] == "raw/a.png"


def test_rebasing_back_restores_the_datalist(tmp_path):
    datalist = {
        "training": [{"image": "x/a.png", "masks": {"lung": "m.png"}, "label": "l.png"}],
        "test": [],
        "name": "set",
        "n": [1],
    }
    there = rebase_datalist(datalist, tmp_path / "a", tmp_path / "b" / "c")
    assert there["training"][0]["image"] == str(tmp_path / "a" / "x" / "a.png")
    assert there["training"][0]["label"] == str(tmp_path / "a" / "l.png")
    assert rebase_datalist(there, tmp_path / "b" / "c", tmp_path / "a") == datalist


def test_an_item_without_an_image_does_not_leave_its_section_with_the_old_paths(tmp_path):
    datalist = {"training": [{"image": "a.png"}, {"patient_id": "1"}], "notes": [{"text": "kept"}]}
    with pytest.raises(ValueError, match="no 'image'; give each item the path of its image"):
        rebase_datalist(datalist, tmp_path / "a", tmp_path / "b")
    del datalist["training"][1]
    assert rebase_datalist(datalist, tmp_path / "a", tmp_path / "b") == {
        "training": [{"image": str(tmp_path / "a" / "a.png")}],
        "notes": [{"text": "kept"}],
    }


def test_a_folder_gets_the_default_file_name():
    assert datalist_path("out/set.json") == Path("out/set.json")
    assert datalist_path("out/set") == Path("out/set/datalist.json")
