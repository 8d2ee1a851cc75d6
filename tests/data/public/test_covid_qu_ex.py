from shutil import copy

import numpy as np
import pytest
from PIL import Image

from mtmedformer_monai.data import check_datalist, convert_dataset
from mtmedformer_monai.data.public.covid_qu_ex import convert
from mtmedformer_monai.transforms.read_mask import read_mask
from tests.data.little_images import find_item, images_by_section, write_image

LUNG = "Lung Segmentation Data"
INFECTION = "Infection Segmentation Data"


def add(folder, place, name, *masks, source=None):
    """Writes an image, new or a duplicate, with its masks."""
    path = folder / place / "images" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    if source is None:
        write_image(path)
    else:
        copy(source, path)
    for kind in masks:
        mask = folder / place / f"{kind} masks" / f"{name}.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        is_drawn = kind == "lung" or "COVID-19" in place
        Image.fromarray(np.full((8, 12), 255 * is_drawn, dtype=np.uint8)).save(mask)
    return path


@pytest.fixture(params=["", "doubled"], ids=["plain", "doubled"])
def release(request, tmp_path):
    """Creates a release with nested folders, as in Kaggle's archive."""
    lung, infection = (f"{part}/{part}" if request.param else part for part in (LUNG, INFECTION))
    covid = add(tmp_path, f"{lung}/Train/COVID-19", "covid_1", "lung")
    other = add(tmp_path, f"{lung}/Val/Non-COVID", "non_COVID (1)", "lung")
    normal = add(tmp_path, f"{lung}/Test/Normal", "Normal (1)", "lung")
    add(tmp_path, f"{lung}/Train/Normal", "Normal (2)", "lung", source=normal)
    add(tmp_path, f"{infection}/Test/COVID-19", "covid_77", "lung", "infection", source=covid)
    add(tmp_path, f"{infection}/Train/Non-COVID", "non_COVID (1)", "lung", "infection", source=other)
    add(tmp_path, f"{infection}/Train/Normal", "Normal (1)", "lung", "infection", source=normal)
    add(tmp_path, f"{infection}/Train/COVID-19", "covid_5", "lung", "infection")
    return tmp_path


def test_images_keep_the_section_of_the_first_part_and_duplicates_are_removed(release):
    assert images_by_section(convert(release)) == {
        "training": {"covid_1.png", "covid_5.png"},
        "validation": {"non_COVID (1).png"},
        "test": {"Normal (1).png"},
    }


def test_masks_of_both_parts_are_merged_into_one_item(release):
    item = find_item(convert(release), "covid_1.png")
    assert item["labels"] == {"finding": "pneumonia"}
    assert item["masks"]["lung"].endswith(f"{LUNG}/Train/COVID-19/lung masks/covid_1.png")
    assert item["masks"]["opacity"].endswith(f"{INFECTION}/Test/COVID-19/infection masks/covid_77.png")
    assert all((release / mask).is_file() for mask in item["masks"].values())


def test_other_pneumonia_has_no_opacity_masks(release):
    datalist = convert(release)
    assert set(find_item(datalist, "non_COVID (1).png")["masks"]) == {"lung"}
    assert find_item(datalist, "non_COVID (1).png")["labels"] == {"finding": "pneumonia"}
    assert set(find_item(datalist, "Normal (1).png")["masks"]) == {"lung", "opacity"}
    assert find_item(datalist, "Normal (1).png")["labels"] == {"finding": "normal"}


def test_every_image_is_a_separate_patient(release):
    datalist = convert(release)
    patients = [item["patient_id"] for section in ("training", "validation", "test") for item in datalist[section]]
    assert len(set(patients)) == 4


def test_one_part_is_sufficient(release):
    for path in sorted((release / LUNG).rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    datalist = convert(release)
    assert images_by_section(datalist)["test"] == {"covid_77.png"}
    assert set(find_item(datalist, "covid_77.png")["masks"]) == {"lung", "opacity"}


def test_empty_or_contradictory_masks_are_excluded(release):
    def masks_of(kind, name):
        return [path for path in release.rglob(f"{name}.png") if path.parent.name == f"{kind} masks"]

    masks_of("lung", "covid_1")[0].write_bytes(b"")
    Image.fromarray(np.zeros((8, 12), dtype=np.uint8)).save(masks_of("infection", "covid_5")[0])
    Image.fromarray(np.full((8, 12), 255, dtype=np.uint8)).save(masks_of("infection", "Normal (1)")[0])
    datalist = convert(release)
    covid = find_item(datalist, "covid_1.png")
    assert covid["masks"]["lung"].endswith("covid_77.png")  # of its copy in the other part
    assert set(find_item(datalist, "covid_5.png")["masks"]) == {"lung"}
    assert set(find_item(datalist, "Normal (1).png")["masks"]) == {"lung"}


def test_folders_may_have_other_spellings_and_depths(release):
    expected = images_by_section(convert(release))
    for path in sorted(release.rglob("*"), reverse=True):
        if path.is_dir():
            path.rename(path.with_name(path.name.replace(" ", "_")))
    (release / "COVID-QU-Ex").mkdir()
    for part in ("Lung_Segmentation_Data", "Infection_Segmentation_Data"):
        (release / part).rename(release / "COVID-QU-Ex" / part)
    assert images_by_section(convert(release)) == expected
    assert set(find_item(convert(release), "covid_5.png")["masks"]) == {"lung", "opacity"}


@pytest.mark.parametrize(("name", "values"), [("a.jpg", (0, 255)), ("a.png", (3, 250, 130, 120))])
def test_masks_compressed_as_jpeg_are_written_again(tmp_path, name, values):
    image = add(tmp_path, f"{LUNG}/Train/COVID-19", "a")
    drawn = np.full((8, 12), values[0], dtype=np.uint8)
    drawn[2:6, 3:9] = values[1]
    drawn[0, :2] = values[2:] or values[0]  # on both sides of the threshold
    (image.parents[1] / "lung masks").mkdir()
    Image.fromarray(drawn).save(image.parents[1] / "lung masks" / name)
    mask = find_item(convert(tmp_path), "a.png")["masks"]["lung"]
    assert mask == f"masks_covid_qu_ex/{LUNG}/Train/COVID-19/lung masks/a.png"
    assert check_datalist(convert_dataset("covid_qu_ex", tmp_path, tmp_path)) == []
    np.testing.assert_array_equal(read_mask(tmp_path / mask), drawn >= 128)
