import numpy as np
import pytest

from mtmedformer_monai.data.public.siim_acr import convert, decode_runs
from mtmedformer_monai.transforms.read_mask import read_mask
from tests.data.little_dicom import write_dicom
from tests.data.little_images import find_item, images_by_section, write_image, write_lines

SIZE = (6, 5)


def write_release(folder, table, place):
    """Creates twelve images of six patients, and one without a label."""
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
def test_invalid_runs_are_rejected(text):
    with pytest.raises(ValueError, match="expect pairs within 6 x 5"):
        decode_runs(text, SIZE)


@pytest.fixture
def release(tmp_path):
    return write_release(tmp_path / "set", "train-rle.csv", "deep/er/s{}/t")


def with_cells(release, **cells):
    """Creates the release with other cells for some images."""
    lines = (release / "train-rle.csv").read_text().splitlines()
    names = {f"1.2.{number[1:]}": text for number, text in cells.items()}
    kept = [line for line in lines if line.split(",")[0] not in names]
    write_lines(
        release / "train-rle.csv", [*kept, *(f"{name},{cell}" for name, text in names.items() for cell in text)]
    )
    return release


@pytest.mark.parametrize("cells", [[""], ["nan"], ["", "7 2"], ["-1", "7 2"]], ids=["blank", "NaN", "half", "both"])
def test_empty_or_contradictory_table_entries_are_not_annotations(release, tmp_path, cells):
    item = find_item(convert(with_cells(release, n5=cells), tmp_path / "masks"), "1.2.5.dcm")
    assert "masks" not in item
    assert item["patient_id"] == "pseudonym2"


def test_an_empty_mask_as_written_by_pandas_is_recognized(release, tmp_path):
    item = find_item(convert(with_cells(release, n5=["-1.0"]), tmp_path / "masks"), "1.2.5.dcm")
    assert not read_mask(item["masks"]["pneumothorax"]).any()


def test_blank_runs_are_distinguished_from_an_empty_mask():
    with pytest.raises(ValueError, match="an empty mask is written as -1"):
        decode_runs("", SIZE)
    with pytest.raises(ValueError, match="expect whole numbers, got '1 x'"):
        decode_runs("1 x", SIZE)


@pytest.mark.parametrize("shrunk", [False, True])
def test_png_copies_are_read_with_masks_at_their_size(tmp_path, shrunk):
    """A run over columns 256 to 511 of the original covers the second quarter of a copy."""
    size = 8 if shrunk else 1024
    for number in range(8):
        write_image(tmp_path / "png" / f"1.2.{number}.png", size, size)
        write_image(tmp_path / "png_masks" / f"1.2.{number}.png", size, size)
    rows = [f"1.2.{number},{1024 * 256} {1024 * 256}" for number in range(8)]
    write_lines(
        tmp_path / "stage_2_train.csv", ["EncodedPixels,ImageId", *(",".join(row.split(",")[::-1]) for row in rows)]
    )
    item = find_item(convert(tmp_path, tmp_path / "drawn"), "1.2.3.png")
    assert (item["image"], item["patient_id"]) == ("png/1.2.3.png", "1.2.3")
    expected = np.zeros((size, size), dtype=bool)
    expected[:, size // 4 : size // 2] = True
    assert np.array_equal(read_mask(item["masks"]["pneumothorax"]), expected)
