import pytest

from mtmedformer_monai.cli.bundle_folders import find_bundles, read_tasks
from mtmedformer_monai.data import CONVERTERS, check_datalist, convert_dataset, load_datalist, read_datalist
from mtmedformer_monai.data.public.converters import load_converter
from mtmedformer_monai.data.public.task_classes import TASK_CLASSES
from tests.data.little_images import write_image, write_lines
from tests.data.public.test_v7_lungs import export, rectangle


@pytest.mark.parametrize("name", CONVERTERS)
def test_every_set_has_a_function_with_a_documented_license_and_source(name):
    convert = load_converter(name)
    module = __import__(convert.__module__, fromlist=["__doc__"])
    assert convert.__name__ == "convert"
    for part in ("Source: ", "License: ", "https://"):
        assert part in module.__doc__
    known = {task["name"] for bundle in find_bundles() for task in read_tasks(bundle)}
    for task in CONVERTERS[name].tasks:
        assert task in TASK_CLASSES or task in known or f"`{task}`" in module.__doc__


@pytest.mark.parametrize("name", CONVERTERS)
def test_the_error_for_an_empty_folder_states_the_expected_files(name, tmp_path):
    (tmp_path / "set").mkdir()
    with pytest.raises((FileNotFoundError, ValueError), match=r"set\S* expects "):
        convert_dataset(name, tmp_path / "set", tmp_path / "lists")
    assert not (tmp_path / "lists").exists()


@pytest.fixture
def flat(tmp_path):
    folder = tmp_path / "set"
    rows = [f"images/{n}.png,No Finding,,{n},{split}" for n, split in enumerate(["train", "val", "test"])]
    write_lines(folder / "labels.csv", ["image,nih_labels,boxes_xywh_json,patient_id,split", *rows])
    for number in range(3):
        write_image(folder / "images" / f"{number}.png")
    return folder


def test_a_datalist_next_to_the_images_can_be_moved_with_them(flat, tmp_path):
    path = convert_dataset("nih_chestxray14", flat, flat)
    assert path == flat / "datalist.json"
    assert read_datalist(path)["training"][0]["image"] == "images/0.png"
    assert read_datalist(path)["classes"] == {"finding": ["normal", "pneumonia"]}
    flat.rename(tmp_path / "moved")
    assert check_datalist(tmp_path / "moved" / "datalist.json") == []


def test_a_datalist_elsewhere_has_absolute_paths(flat, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = convert_dataset("nih_chestxray14", "set", "lists/nih.json")
    assert load_datalist(path, "test")[0]["image"] == str(flat / "images" / "2.png")
    assert check_datalist(path) == []


def test_drawn_masks_are_written_next_to_the_datalist_and_the_dataset_is_unchanged(tmp_path):
    for number in range(20):
        export(tmp_path / "set", str(number), [rectangle(1, 1, 5, 5)])
    before = sorted((tmp_path / "set").rglob("*"))
    path = convert_dataset("v7_lungs", tmp_path / "set", tmp_path / "lists")
    assert read_datalist(path)["training"][0]["masks"]["lung"].startswith("masks_v7_lungs/")
    assert check_datalist(path) == []
    assert sorted((tmp_path / "set").rglob("*")) == before


def test_an_unknown_dataset_and_a_missing_folder_are_reported(tmp_path):
    with pytest.raises(ValueError, match="expects one of"):
        convert_dataset("chexpert", tmp_path, tmp_path)
    with pytest.raises(FileNotFoundError, match="download the dataset"):
        convert_dataset("kermany", tmp_path / "none", tmp_path)
