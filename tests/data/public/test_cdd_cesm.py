import numpy as np
import pytest
from PIL import Image

from mtmedformer_monai.data.public.cdd_cesm import DENSITY, PATHOLOGY, convert
from mtmedformer_monai.data.public.spreadsheet import read_sheet
from mtmedformer_monai.transforms.read_mask import read_mask
from tests.data.little_images import find_item, images_by_section, write_lines
from tests.data.little_shapes import write_via
from tests.data.little_sheets import write_sheet

TITLES = ["Image_name", "Patient_ID", "Side", "Type", "Age", DENSITY, "BIRADS", "Findings", "View", "Tags", PATHOLOGY]
LOW = "Low energy images of CDD-CESM"
SUBTRACTED = "Subtracted images of CDD-CESM"


def rectangle(x1, y1, x2, y2):
    return {"name": "polygon", "all_points_x": [x1, x2, x2, x1], "all_points_y": [y1, y1, y2, y2]}


@pytest.fixture
def release(tmp_path):
    """Creates twelve patients, normal, benign and malignant in turn, with low-energy and subtracted images."""
    folder, rows, shapes = tmp_path / "set", [], []
    for number in range(12):
        pathology = ("Normal", "Benign", "Malignant")[number % 3]
        for kind, place, density in (("DM", LOW, "c"), ("CM", SUBTRACTED, "_")):
            name = f"P{number}_L_{kind}_MLO"
            rows.append([f"{name} ", number, "L", "DM", 50, density, "4$2", "Mass", "MLO", "", pathology])
            path = folder / place / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((40, 30), 99, dtype=np.uint8)).save(path)
            if number not in (0, 3, 4):
                shapes.append((f"{name} .jpg", rectangle(2, 3, 12, 23)))
    shapes += [("P2_L_DM_MLO.jpg", {"name": "circle", "cx": 20, "cy": 20, "r": 4})]
    shapes += [("P4_L_DM_MLO.jpg", {"name": "point", "cx": 20, "cy": 20})]
    write_sheet(folder / "Radiology-manual-annotations.xlsx", {"mass": [["x"], ["y"]], "all": [TITLES, *rows]})
    write_via(folder / "Radiology_hand_drawn_segmentations_v2.csv", shapes)
    return folder


@pytest.fixture
def datalist(release, tmp_path):
    return convert(release, tmp_path / "masks")


def test_outlines_are_drawn(datalist):
    item = find_item(datalist, "P2_L_DM_MLO.jpg")
    mask = read_mask(item["masks"]["lesion"])
    assert mask.shape == (40, 30)
    assert mask[3:23, 2:12].all()
    assert item["boxes"] == {"lesion": [[2, 3, 12, 23], [16, 16, 24, 24]]}
    assert item["labels"] == {"pathology": "malignant", "breast_density": "C"}
    assert (item["patient_id"], item["study_id"], item["laterality"], item["view"]) == ("2", "2", "L", "MLO")


def test_a_normal_image_has_no_lesion(datalist):
    item = find_item(datalist, "P0_L_DM_MLO.jpg")
    assert item["boxes"] == {"lesion": []}
    assert not read_mask(item["masks"]["lesion"]).any()


@pytest.mark.parametrize("number", [4, 6], ids=["abnormal with a point alone", "normal with an outline"])
def test_inconsistent_annotations_are_excluded(datalist, number):
    assert not {"masks", "boxes"} & set(find_item(datalist, f"P{number}_L_DM_MLO.jpg"))


def test_subtracted_images_are_optional_and_have_their_own_outlines(release, datalist, tmp_path):
    assert len(set().union(*images_by_section(datalist).values())) == 12
    both = convert(release, tmp_path / "masks", subtracted=True)
    item = find_item(both, "P2_L_CM_MLO.jpg")
    assert item["boxes"] == {"lesion": [[2, 3, 12, 23]]}
    assert item["labels"] == {"pathology": "malignant"}
    patients = [{item["patient_id"] for item in both[section]} for section in ("training", "validation", "test")]
    assert sum(map(len, patients)) == 12


def test_a_missing_workbook_is_reported(release, tmp_path):
    (release / "Radiology-manual-annotations.xlsx").unlink()
    with pytest.raises(FileNotFoundError, match=r"Radiology\*manual\*annotations.xlsx"):
        convert(release, tmp_path / "masks")


def test_the_sheet_may_be_a_csv_file_with_other_spellings(release, tmp_path, datalist):
    book = release / "Radiology-manual-annotations.xlsx"
    rows = read_sheet(book, "all", TITLES)
    lines = [";".join(title.upper() for title in TITLES), *(";".join(row[title] for title in TITLES) for row in rows)]
    write_lines(release / "tables" / "Radiology_manual_annotations.csv", lines)
    book.unlink()
    (release / LOW).rename(release / LOW.replace(" ", "_").lower())
    again = convert(release, tmp_path / "masks")
    assert images_by_section(again) == images_by_section(datalist)
    assert find_item(again, "P2_L_DM_MLO.jpg")["labels"] == {"pathology": "malignant", "breast_density": "C"}


def test_an_image_with_a_polygon_without_vertices_is_not_annotated(release, tmp_path):
    empty = {"name": "polygon", "all_points_x": [], "all_points_y": []}
    write_via(release / "Radiology_hand_drawn_segmentations_v2.csv", [("P2_L_DM_MLO.jpg", empty)])
    assert not {"masks", "boxes"} & set(find_item(convert(release, tmp_path / "masks"), "P2_L_DM_MLO.jpg"))
