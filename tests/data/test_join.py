import pytest

from mtmedformer_monai.data import (
    check_datalist,
    join_datalists,
    load_datalist,
    read_datalist,
    save_datalist,
    summarize_datalist,
)
from tests.data.little_images import write_image


@pytest.fixture
def sources(tmp_path):
    """Creates two datasets with equal patient IDs; the second has a site."""
    first = {"training": [{"image": "1.png", "patient_id": "1"}], "test": [{"image": "2.png"}], "licence": "CC0"}
    second = {
        "training": [
            {"image": "sub/1.png", "masks": {"lung": "m.png"}, "patient_id": 1, "site": "east"},
            {"image": "/far/3.png", "patient_id": "3", "site": ""},
        ]
    }
    return {
        "north": save_datalist(first, tmp_path / "a" / "datalist.json"),
        "south": save_datalist(second, tmp_path / "b" / "datalist.json"),
    }


def test_items_keep_their_sections_and_get_site_and_patient(tmp_path, sources):
    joined = read_datalist(join_datalists(sources, tmp_path / "joined"))
    entries = [(item["site"], item.get("patient_id")) for item in joined["training"] + joined["test"]]
    assert entries == [("north", "north/1"), ("east", "south/1"), ("south", "south/3"), ("north", None)]
    assert joined["validation"] == []
    assert joined["sources"]["north"] == {"licence": "CC0"}


def test_paths_refer_to_the_same_files_from_the_new_location(tmp_path, sources):
    joined = join_datalists(sources, tmp_path / "b" / "all.json")
    images = [item["image"] for item in load_datalist(joined, "training")]
    assert images == [str(tmp_path / "a" / "1.png"), str(tmp_path / "b" / "sub" / "1.png"), "/far/3.png"]
    assert read_datalist(joined)["training"][1]["image"] == "sub/1.png"
    assert load_datalist(joined, "training")[1]["masks"] == {"lung": str(tmp_path / "b" / "m.png")}


def test_unnamed_sources_are_named_after_datalist_folder_or_file(tmp_path, sources):
    named = save_datalist({"test": [{"image": "x"}], "name": "set"}, tmp_path / "any.json")
    file = save_datalist({"test": [{"image": "y"}]}, tmp_path / "file.json")
    joined = read_datalist(join_datalists([sources["north"], named, file], tmp_path / "joined"))
    assert [item["site"] for item in joined["test"]] == ["a", "set", "file"]


def test_sources_with_the_same_name_are_rejected(tmp_path):
    paths = [save_datalist({"test": [], "name": "set"}, tmp_path / f"{number}.json") for number in range(2)]
    with pytest.raises(ValueError, match=r"both named 'set'.*SITE=DATALIST"):
        join_datalists(paths, tmp_path / "joined")


def mammograms(folder, patient):
    """Creates a dataset with two mammograms of one patient, whose IDs occur in another dataset as well."""
    views = [{"image": f"{side}.png", "patient_id": patient, "study_id": "1", "laterality": side} for side in "LR"]
    for item in views:
        item |= {"view": "CC", "labels": {"pathology": "benign"}}
        write_image(folder / item["image"])
    return save_datalist({"test": views, "classes": {"pathology": ["normal", "benign"]}}, folder / "datalist.json")


def test_equal_study_ids_of_different_sources_remain_distinct(tmp_path):
    sources = [mammograms(tmp_path / name, "1") for name in ("a", "b")]
    path = join_datalists(sources, tmp_path / "joined")
    entries = [(item["patient_id"], item["study_id"], item["laterality"]) for item in read_datalist(path)["test"]]
    assert entries == [("a/1", "a/1", "L"), ("a/1", "a/1", "R"), ("b/1", "b/1", "L"), ("b/1", "b/1", "R")]
    assert check_datalist(path) == []
    assert read_datalist(path)["classes"] == {"pathology": ["normal", "benign"]}
    lines = [" ".join(line.split()) for line in summarize_datalist(path).splitlines()]
    assert {"studies 0 0 2 2", "site a 0 0 2 2", "label pathology 0 0 4 4"} <= set(lines)


def test_incompatible_classes_are_reported(tmp_path):
    first = mammograms(tmp_path / "a", "1")
    second = save_datalist(
        {"test": [{"image": "x", "labels": {"pathology": "cancer"}}]}, tmp_path / "b" / "datalist.json"
    )
    with pytest.raises(ValueError, match=r"'pathology' has \['normal', 'benign'\] in a, but b labels \['cancer'\]"):
        join_datalists([first, second], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_a_missing_source_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match="no datalist at"):
        join_datalists({"a": tmp_path / "none.json"}, tmp_path / "joined")
