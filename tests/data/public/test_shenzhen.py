import pytest

from mtmedformer_monai.data.public.shenzhen import convert
from tests.data.little_images import find_item, write_image, write_lines


@pytest.fixture
def release(tmp_path):
    """Creates twenty images, normal and tuberculosis in turn, with masks for the first ten."""
    for number in range(20):
        name = f"CHNCXR_{number:04}_{number % 2}"
        write_image(tmp_path / "ChinaSet_AllFiles/CXR_png" / f"{name}.png")
        reading = "bilateral PTB" if number % 2 else "normal"
        write_lines(tmp_path / "ChinaSet_AllFiles/ClinicalReadings" / f"{name}.txt", ["male 45yrs", reading])
        if number < 10:
            write_image(tmp_path / "mask/mask" / f"{name}_mask.png")
    write_image(tmp_path / "Annotations/masks/CHNCXR_0013_1_Cavity_1.png")
    return tmp_path


def test_items(release):
    datalist = convert(release)
    assert find_item(datalist, "CHNCXR_0002_0.png") == {
        "image": "ChinaSet_AllFiles/CXR_png/CHNCXR_0002_0.png",
        "labels": {"tuberculosis": "absent", "finding": "normal"},
        "patient_id": "CHNCXR_0002_0",
        "masks": {"lung": "mask/mask/CHNCXR_0002_0_mask.png"},
    }
    assert find_item(datalist, "CHNCXR_0013_1.png") == {
        "image": "ChinaSet_AllFiles/CXR_png/CHNCXR_0013_1.png",
        "labels": {"tuberculosis": "present"},
        "patient_id": "CHNCXR_0013_1",
    }


def test_sections_are_stratified_by_tuberculosis(release):
    datalist = convert(release)
    counts = [len(datalist[section]) for section in ("training", "validation", "test")]
    assert counts == [14, 3, 3]
    ill = [item["labels"]["tuberculosis"] == "present" for item in datalist["training"]]
    assert sum(ill) == 7


def test_without_readings_the_name_determines_normal(release):
    for path in (release / "ChinaSet_AllFiles/ClinicalReadings").iterdir():
        path.unlink()
    assert find_item(convert(release), "CHNCXR_0002_0.png")["labels"]["finding"] == "normal"


def test_empty_masks_are_not_annotations(release):
    (release / "mask/mask/CHNCXR_0002_0_mask.png").write_bytes(b"")
    datalist = convert(release)
    assert "masks" not in find_item(datalist, "CHNCXR_0002_0.png")
    assert "masks" in find_item(datalist, "CHNCXR_0004_0.png")


def test_kaggles_layout_is_read(release):
    (release / "ChinaSet_AllFiles/CXR_png").rename(release / "images")
    (release / "mask").rename(release / "masks")
    item = find_item(convert(release), "CHNCXR_0002_0.png")
    assert (item["image"], item["masks"]) == (
        "images/CHNCXR_0002_0.png",
        {"lung": "masks/mask/CHNCXR_0002_0_mask.png"},
    )
