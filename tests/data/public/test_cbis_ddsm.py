import numpy as np
import pytest
from PIL import Image

from mtmedformer_monai.data import check_datalist, convert_dataset, read_datalist
from mtmedformer_monai.data.public.cbis_ddsm import convert
from mtmedformer_monai.data.public.task_classes import TASK_CLASSES
from mtmedformer_monai.transforms.read_mask import read_mask
from tests.data.little_dicom import write_dicom
from tests.data.little_images import write_lines

MASS = (
    "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,mass shape,mass margins,"
    "assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path"
)
CALC = MASS.replace("breast_density", "breast density").replace(
    "mass shape,mass margins", "calc type,calc distribution"
)
SIZE = (60, 40)


class Release:
    """Writes films, outlines and tables in TCIA's layout, or that of the JPEG copy."""

    def __init__(self, folder, jpeg=False):
        self.folder, self.jpeg = folder, jpeg
        self.rows = {(kind, part): [] for kind in ("mass", "calc") for part in ("train", "test")}

    def add(self, kind, part, patient, side, view, number, pathology, box, density=2, scale=1.0, image=True):
        """Adds a lesion with a box x1, y1, x2, y2 as outline; the crop is listed before or after the mask."""
        case = f"{kind.title()}-{'Training' if part == 'train' else 'Test'}_{patient}_{side}_{view}"
        if image:
            film = np.random.default_rng(list(case.encode())).integers(0, 4096, SIZE, dtype=np.uint16)
            self.write(f"{case}/1.2/1.3.{case}", {"1-1": film})
        x1, y1, x2, y2 = box
        mask = np.zeros((round(SIZE[0] * scale), round(SIZE[1] * scale)), dtype=np.uint8)
        mask[round(y1 * scale) : round(y2 * scale), round(x1 * scale) : round(x2 * scale)] = 255
        crop = np.full((y2 - y1 + 4, x2 - x1 + 4), 900, dtype=np.uint16)
        roi = f"{case}_{number}/1.4/1.5.{case}_{number}"
        self.write(roi, {"1-1": mask, "1-2": crop} if number % 2 else {"1-1": crop, "1-2": mask})
        paths = f'{case}/1.2/1.3.{case}/000000.dcm,{roi}/000000.dcm,"{roi}/000001.dcm\n"'
        row = f"{patient},{density},{side},{view},{number},{kind},X,Y,4,{pathology},3,{paths}"
        self.rows[kind, part].append(row)

    def write(self, place, files):
        for name, pixels in files.items():
            if self.jpeg:
                path = self.folder / "jpeg" / place.split("/")[2] / f"{name}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                scaled = np.minimum(pixels, 255).astype(np.uint8)
                Image.fromarray(scaled).save(path, quality=60)
            else:
                write_dicom(self.folder / "CBIS-DDSM" / place / f"{name}.dcm", pixels)

    def finish(self):
        for (kind, part), rows in self.rows.items():
            table = self.folder / ("csv" if self.jpeg else "") / f"{kind}_case_description_{part}_set.csv"
            write_lines(table, [MASS if kind == "mass" else CALC, *rows])
        return self.folder


def make_release(folder, jpeg):
    """Creates ten training patients, one test patient, and one in both a test table and a training table."""
    made = Release(folder, jpeg)
    for number in range(10):
        pathology = "MALIGNANT" if number % 2 else "BENIGN"
        made.add("mass", "train", f"P_{number:05}", "LEFT", "CC", 1, pathology, (5, 5, 15, 25))
    made.add("calc", "train", "P_00003", "LEFT", "CC", 1, "BENIGN", (20, 30, 30, 50), image=False)
    made.add("mass", "train", "P_00003", "LEFT", "CC", 2, "MALIGNANT", (10, 20, 25, 40), image=False)
    made.add("calc", "train", "P_00004", "RIGHT", "MLO", 1, "BENIGN_WITHOUT_CALLBACK", (1, 1, 9, 9), density=0)
    made.add("mass", "test", "P_00100", "RIGHT", "CC", 1, "MALIGNANT", (5, 5, 15, 25), density=4)
    made.add("calc", "test", "P_00101", "LEFT", "MLO", 1, "BENIGN", (5, 5, 15, 25))
    made.add("mass", "train", "P_00101", "LEFT", "MLO", 1, "MALIGNANT", (20, 5, 30, 25))
    made.add("mass", "train", "P_00101", "RIGHT", "CC", 1, "BENIGN", (5, 5, 15, 25))
    return made


@pytest.fixture(scope="module", params=[False, True], ids=["DICOM", "JPEG"])
def datalist(request, tmp_path_factory):
    """Converts a complete release."""
    folder = tmp_path_factory.mktemp("cbis")
    made = make_release(folder / "set", request.param)
    return convert(made.finish(), folder / "masks") | {"jpeg": made.jpeg, "folder": made.folder}


@pytest.fixture(params=[False, True], ids=["DICOM", "JPEG"])
def release(request, tmp_path):
    """Creates five training patients and one test patient, to which tests add their cases."""
    made = Release(tmp_path / "set", request.param)
    for number in range(5):
        made.add("mass", "train", f"P_{number:05}", "LEFT", "CC", 1, "BENIGN", (5, 5, 15, 25))
    made.add("mass", "test", "P_00100", "RIGHT", "CC", 1, "MALIGNANT", (5, 5, 15, 25))
    made.add("calc", "test", "P_00101", "RIGHT", "CC", 1, "BENIGN", (5, 5, 15, 25))
    made.add("calc", "train", "P_00005", "RIGHT", "CC", 1, "BENIGN", (5, 5, 15, 25))
    return made


def converted(release, tmp_path):
    return convert(release.finish(), tmp_path / "masks")


def items_of(datalist, patient):
    return [
        item
        for section in ("training", "validation", "test")
        for item in datalist[section]
        if item["patient_id"] == patient
    ]


def test_lesions_of_a_film_are_merged_over_masses_and_calcifications(datalist):
    (item,) = items_of(datalist, "P_00003")
    expected = np.zeros(SIZE, dtype=bool)
    boxes = [(5, 5, 15, 25), (10, 20, 25, 40), (20, 30, 30, 50)]
    for x1, y1, x2, y2 in boxes:
        expected[y1:y2, x1:x2] = True
    mask = read_mask(item["masks"]["lesion"])
    assert mask.shape == SIZE
    tolerance = 40 if datalist["jpeg"] else 0  # JPEG compression changes pixels at edges
    assert (mask != expected).sum() <= tolerance
    assert np.allclose(sorted(item["boxes"]["lesion"]), boxes, atol=1 if datalist["jpeg"] else 0)


def test_labels_and_facts(datalist):
    (worst,) = items_of(datalist, "P_00003")
    assert worst["labels"] == {"pathology": "malignant", "breast_density": "B"}
    assert (worst["study_id"], worst["laterality"], worst["view"]) == ("P_00003", "L", "CC")
    other = next(item for item in items_of(datalist, "P_00004") if item["laterality"] == "R")
    assert other["labels"] == {"pathology": "benign"}
    assert other["view"] == "MLO"
    (tested,) = items_of(datalist, "P_00100")
    assert tested["labels"] == {"pathology": "malignant", "breast_density": "D"}


def test_test_tables_are_kept_and_no_patient_is_in_two_sections(datalist):
    assert sorted(item["patient_id"] for item in datalist["test"]) == ["P_00100", "P_00101"]
    patients = [{item["patient_id"] for item in datalist[section]} for section in ("training", "validation", "test")]
    assert [len(group) for group in patients] == [8, 2, 2]
    assert not patients[0] & patients[1]
    assert not (patients[0] | patients[1]) & patients[2]


def test_a_test_film_keeps_the_lesions_of_a_training_table(datalist):
    (item,) = items_of(datalist, "P_00101")
    assert len(item["boxes"]["lesion"]) == 2
    assert item["labels"]["pathology"] == "malignant"


def test_a_subset_of_the_images_is_sufficient(release, tmp_path):
    release.add("mass", "train", "P_00500", "LEFT", "CC", 1, "BENIGN", (5, 5, 9, 9), image=False)
    assert items_of(converted(release, tmp_path), "P_00500") == []


def test_a_mask_of_another_scale_is_resampled_and_a_crop_is_not_a_mask(release, tmp_path):
    release.add("mass", "test", "P_00501", "LEFT", "CC", 1, "BENIGN", (4, 8, 16, 24), scale=1.5)
    release.add("mass", "test", "P_00502", "LEFT", "CC", 1, "BENIGN", (4, 8, 16, 24), scale=0.3)
    datalist = converted(release, tmp_path)
    (fitted,), (cropped,) = (items_of(datalist, patient) for patient in ("P_00501", "P_00502"))
    assert np.allclose(fitted["boxes"]["lesion"], [[4, 8, 16, 24]], atol=1)
    assert read_mask(fitted["masks"]["lesion"]).shape == SIZE
    assert not {"masks", "boxes"} & set(cropped)
    assert cropped["labels"]["pathology"] == "benign"


def test_image_paths_are_relative_to_the_dataset(datalist):
    (item,) = items_of(datalist, "P_00100")
    assert not item["image"].startswith("/")
    assert (datalist["folder"] / item["image"]).is_file()


def test_the_datalist_is_valid(release, tmp_path):
    path = convert_dataset("cbis_ddsm", release.finish(), tmp_path / "lists")
    masks = [item["masks"]["lesion"] for section in ("training", "test") for item in read_datalist(path)[section]]
    assert all(mask.startswith("masks_cbis_ddsm/P_") for mask in masks)
    assert check_datalist(path, {task: TASK_CLASSES[task] for task in ("pathology", "breast_density")}) == []


def test_an_unknown_pathology_is_rejected(release, tmp_path):
    release.add("mass", "train", "P_00600", "LEFT", "CC", 1, "UNPROVEN", (5, 5, 9, 9))
    with pytest.raises(ValueError, match="UNPROVEN"):
        converted(release, tmp_path)


def test_a_missing_table_is_reported(release, tmp_path):
    folder = release.finish()
    next(folder.rglob("calc_case_description_test_set.csv")).unlink()
    with pytest.raises(FileNotFoundError, match=r"calc_case_description_test_set\.csv"):
        convert(folder, tmp_path / "masks")


def test_a_film_with_an_unknown_pathology_has_none_unless_a_lesion_is_malignant(release, tmp_path):
    release.add("mass", "train", "P_00601", "LEFT", "CC", 1, "", (5, 5, 9, 9))
    release.add("calc", "train", "P_00601", "LEFT", "CC", 1, "BENIGN", (5, 5, 9, 9), image=False)
    release.add("mass", "train", "P_00602", "LEFT", "CC", 1, "", (5, 5, 9, 9))
    release.add("calc", "train", "P_00602", "LEFT", "CC", 1, "malignant", (5, 5, 9, 9), image=False)
    datalist = converted(release, tmp_path)
    (unknown,), (known,) = (items_of(datalist, patient) for patient in ("P_00601", "P_00602"))
    assert unknown["labels"] == {"breast_density": "B"}
    assert known["labels"]["pathology"] == "malignant"


def test_a_copy_is_found_at_any_depth(release, tmp_path):
    folder = release.finish()
    expected = converted(release, tmp_path)
    folder.rename(tmp_path / "moved")
    (tmp_path / "set").mkdir()
    (tmp_path / "moved").rename(tmp_path / "set" / "archive")
    moved = convert(tmp_path / "set", tmp_path / "masks")
    assert [len(moved[section]) for section in moved if section in expected] == [len(expected[s]) for s in expected]


def test_a_film_with_an_empty_outline_is_not_annotated(release, tmp_path):
    release.add("mass", "test", "P_00603", "LEFT", "CC", 1, "BENIGN", (5, 5, 5, 5))
    (item,) = items_of(converted(release, tmp_path), "P_00603")
    assert not {"masks", "boxes"} & set(item)
