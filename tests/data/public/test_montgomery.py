import numpy as np
import pytest
from PIL import Image

from mtmedformer_monai.data.public.montgomery import convert
from mtmedformer_monai.transforms.read_mask import read_mask
from tests.data.little_images import find_item, write_image, write_lines


def save_mask(path, columns):
    mask = np.zeros((8, 12), dtype=bool)
    mask[2:6, columns] = True
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


@pytest.fixture(params=["", "MontgomerySet"], ids=["plain", "in its folder"])
def release(request, tmp_path):
    """Creates ten normal images, ten with tuberculosis, and one that is normal only by its name."""
    root = tmp_path / "set" / request.param
    for number in range(21):
        name = f"MCUCXR_{number:04}_{int(10 <= number < 20)}"
        write_image(root / "CXR_png" / f"{name}.png")
        save_mask(root / "ManualMask/leftMask" / f"{name}.png", slice(7, 11))
        save_mask(root / "ManualMask/rightMask" / f"{name}.png", slice(1, 5))
        text = "normal " if number < 10 else "old calcified granuloma"
        write_lines(root / "ClinicalReadings" / f"{name}.txt", ["Patient's Sex: F", "Patient's Age: 027Y", text])
    return tmp_path / "set"


@pytest.fixture
def datalist(release, tmp_path):
    return convert(release, tmp_path / "masks")


def test_both_lungs_are_merged_into_one_mask(datalist):
    mask = read_mask(find_item(datalist, "MCUCXR_0003_0.png")["masks"]["lung"])
    expected = np.zeros((8, 12), dtype=bool)
    expected[2:6, 1:5] = expected[2:6, 7:11] = True
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("MCUCXR_0003_0", {"tuberculosis": "absent", "finding": "normal"}),
        ("MCUCXR_0013_1", {"tuberculosis": "present"}),
        ("MCUCXR_0020_0", {"tuberculosis": "absent"}),
    ],
    ids=["normal", "ill", "reading says else"],
)
def test_labels(datalist, name, labels):
    assert find_item(datalist, f"{name}.png")["labels"] == labels


def test_each_image_is_a_separate_patient(datalist):
    patients = {item["patient_id"] for section in ("training", "validation", "test") for item in datalist[section]}
    assert len(patients) == 21
    assert datalist["validation"]


def test_a_mask_of_one_lung_is_not_an_annotation(release, tmp_path):
    next(release.rglob("leftMask/MCUCXR_0003_0.png")).unlink()
    assert "masks" not in find_item(convert(release, tmp_path / "masks"), "MCUCXR_0003_0.png")


def test_an_unexpected_name_is_rejected(release, tmp_path):
    image = next(release.rglob("CXR_png/MCUCXR_0003_0.png"))
    image.rename(image.with_name("mine.png"))
    with pytest.raises(ValueError, match=r"mine\.png expects a name such as MCUCXR_0001_0"):
        convert(release, tmp_path / "masks")


def test_an_empty_mask_is_not_an_annotation(release, tmp_path):
    save_mask(next(release.rglob("leftMask/MCUCXR_0003_0.png")), slice(0, 0))
    next(release.rglob("rightMask/MCUCXR_0004_0.png")).write_bytes(b"")
    datalist = convert(release, tmp_path / "masks")
    assert "masks" not in find_item(datalist, "MCUCXR_0003_0.png")
    assert "masks" not in find_item(datalist, "MCUCXR_0004_0.png")


def test_kaggles_copy_of_both_datasets_is_read(tmp_path):
    for number in range(10):
        name = f"MCUCXR_{number:04}_{number % 2}"
        write_image(tmp_path / "Lung Segmentation/CXR_png" / f"{name}.png")
        write_image(tmp_path / "Lung Segmentation/CXR_png" / f"CHNCXR_{number:04}_0.png")
        save_mask(tmp_path / "Lung Segmentation/masks" / f"{name}.png", slice(1, 5))
        save_mask(tmp_path / "Lung Segmentation/masks" / f"CHNCXR_{number:04}_0_mask.png", slice(1, 5))
    datalist = convert(tmp_path, tmp_path / "drawn")
    items = [item for section in ("training", "validation", "test") for item in datalist[section]]
    assert sorted(item["patient_id"] for item in items) == [f"MCUCXR_{number:04}_{number % 2}" for number in range(10)]
    assert all(read_mask(item["masks"]["lung"]).sum() == 16 for item in items)
