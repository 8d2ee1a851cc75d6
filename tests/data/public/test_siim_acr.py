import numpy as np
import pytest

from mtmedformer_monai.data.public.siim_acr import convert, decode_runs
from mtmedformer_monai.transforms.read_mask import read_mask
from tests.data.little_dicom import write_dicom
from tests.data.little_images import find_item, images_by_section, write_lines

SIZE = (6, 5)


def write_release(folder, table, place):
    """Twelve images of six patients, and one without a label."""
    rows = []
    for number in range(12):
        pixels = np.full(SIZE, number, dtype=np.uint16)
        write_dicom(folder / place.format(number) / f"1.2.{number}.dcm", pixels, PatientID=f"pseudonym{number // 2}")
        rows.append(f"1.2.{number}, -1" if number else "1.2.0,7 2 4 2")
    rows.append("1.2.0, 0 1")
    write_dicom(folder / place.format(99) / "1.2.99.dcm", np.ones(SIZE, dtype=np.uint16))
    write_lines(folder / table, ["ImageId, EncodedPixels", *rows])
    return folder


@pytest.fixture(params=[("train-rle.csv", "dicom-images-train/s{}/t"), ("stage_2_train.csv", "stage_2_images")])
def datalist(request, tmp_path):
    return convert(write_release(tmp_path / "set", *request.param), tmp_path / "masks")


def test_runs_go_down_the_columns_and_are_merged(datalist):
    mask = read_mask(find_item(datalist, "1.2.0.dcm")["masks"]["pneumothorax"])
    expected = np.zeros(SIZE, dtype=bool)
    expected[1:3, 1] = expected[1:3, 2] = expected[0, 0] = True  # 7 = 6 + 1; 7 + 2 + 4 = 13 = 12 + 1
    assert np.array_equal(mask, expected)


def test_without_a_run_the_mask_is_empty(datalist):
    mask = read_mask(find_item(datalist, "1.2.7.dcm")["masks"]["pneumothorax"])
    assert mask.shape == SIZE
    assert not mask.any()


def test_labeled_images_are_split_by_the_header_s_patients(datalist):
    assert sum(map(len, images_by_section(datalist).values())) == 12
    assert find_item(datalist, "1.2.5.dcm")["patient_id"] == "pseudonym2"
    patients = [{item["patient_id"] for item in datalist[section]} for section in ("training", "validation", "test")]
    assert sum(map(len, patients)) == 6


@pytest.mark.parametrize("text", ["1 2 3", "20 11"], ids=["no pairs", "leaves the image"])
def test_other_runs_are_refused(text):
    with pytest.raises(ValueError, match="expect pairs within 6 x 5"):
        decode_runs(text, SIZE)
