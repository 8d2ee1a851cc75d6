import plistlib

import numpy as np
import pytest

from mtmedformer_monai.data.public.inbreast import convert
from mtmedformer_monai.transforms.read_mask import read_mask
from tests.data.little_dicom import write_dicom
from tests.data.little_images import write_image, write_lines

TITLES = "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"
SIZE = (48, 32)


def box_points(x1, y1, x2, y2):
    return [f"({x:.6f}, {y:.6f})" for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))]


def write_contours(folder, name, *marked):
    """Writes an OsiriX export of (name, points)."""
    rois = [{"Area": 0.5, "Name": title, "NumberOfPoints": len(points), "Point_px": points} for title, points in marked]
    path = folder / "AllXML" / f"{name}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(plistlib.dumps({"Images": [{"ImageIndex": 0, "NumberOfROIs": len(rois), "ROIs": rois}]}))
    return path


@pytest.fixture
def release(tmp_path):
    """Creates a release with twelve patients, one image per breast, and two dates for the first patient."""
    folder, rows = tmp_path / "set", []
    pixels = np.full(SIZE, 700, dtype=np.uint16)
    for patient in range(12):
        for side in "RL":
            name = f"{2000 + patient}{'RL'.index(side)}"
            date = "200901" if patient == 0 and side == "L" else "201001"
            write_dicom(folder / f"AllDICOMs/{name}_hash{patient:02}_MG_{side}_CC_ANON.dcm", pixels)
            birads = "4a" if patient % 3 else {"R": "1", "L": "2"}[side]
            rows.append(f"removed;removed;{side};CC;{date};{name};{patient % 4 + 1};{birads}")
    rows.append("removed;removed;R;MLO;201001;9999; ;1")  # its image is missing
    write_lines(folder / "INbreast.csv", [TITLES, *rows])
    write_contours(folder, "20000", ("Mass", box_points(4, 6, 14, 20)), ("Espiculated Region", box_points(2, 4, 8, 10)))
    write_contours(folder, "20010", ("Calcification", box_points(3, 3, 5, 5)), ("Point 1", ["(3.0, 3.0)"]))
    write_contours(folder, "20020", ("Cluster ", box_points(3, 3, 9, 9)), ("Calcification", ["(20.0, 30.0)"]))
    return folder


def item_of(datalist, name):
    items = [item for section in ("training", "validation", "test") for item in datalist[section]]
    (found,) = [item for item in items if f"/{name}_" in item["image"]]
    return found


@pytest.fixture
def datalist(release, tmp_path):
    return convert(release, tmp_path / "masks")


def test_contours_of_lesions_are_drawn(datalist):
    item = item_of(datalist, "20000")
    expected = np.zeros(SIZE, dtype=bool)
    expected[6:20, 4:14] = expected[4:10, 2:8] = True
    assert np.array_equal(read_mask(item["masks"]["lesion"]), expected)
    assert item["boxes"] == {"lesion": [[4, 6, 14, 20], [2, 4, 8, 10]]}


def test_individual_calcifications_are_not_lesions(datalist):
    assert item_of(datalist, "20020")["boxes"] == {"lesion": [[3, 3, 9, 9]]}
    assert not {"masks", "boxes"} & set(item_of(datalist, "20010"))


def test_a_negative_image_without_contours_has_no_lesion_and_any_other_is_not_annotated(datalist):
    item = item_of(datalist, "20030")
    assert item["labels"]["birads"] == "1"
    assert item["boxes"] == {"lesion": []}
    assert not read_mask(item["masks"]["lesion"]).any()
    for name in ("20031", "20011"):
        assert not {"masks", "boxes"} & set(item_of(datalist, name))


def test_an_image_with_a_lesion_without_area_is_not_annotated(release, tmp_path):
    write_contours(release, "20030", ("Mass", box_points(4, 6, 14, 20)), ("Mass", ["(3.0, 3.0)", "(9.0, 9.0)"]))
    assert not {"masks", "boxes"} & set(item_of(convert(release, tmp_path / "masks"), "20030"))


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_tables_saved_again_are_read(release, tmp_path, datalist, delimiter):
    """Covers another delimiter, a byte order mark, and integers that pandas writes as floats."""
    lines = (release / "INbreast.csv").read_text().splitlines()
    cells = [line.split(";") for line in lines]
    rows = [[*row[:5], f"{row[5]}.0", f"{row[6]}.0" if row[6].strip() else "NaN", row[7]] for row in cells[1:]]
    write_lines(release / "INbreast.csv", [f"\ufeff{delimiter.join(cells[0])}", *map(delimiter.join, rows)])
    assert convert(release, tmp_path / "masks") == datalist


def test_labels_and_facts(datalist):
    item = item_of(datalist, "20011")
    assert item["labels"] == {"breast_density": "B", "birads": "4"}
    assert (item["patient_id"], item["study_id"]) == ("hash01", "hash01-201001")
    assert (item["laterality"], item["view"]) == ("L", "CC")
    assert item_of(datalist, "20001")["study_id"] != item_of(datalist, "20000")["study_id"]


def test_patients_are_not_divided_between_sections(datalist):
    patients = [{item["patient_id"] for item in datalist[section]} for section in ("training", "validation", "test")]
    assert sum(map(len, patients)) == len(set().union(*patients)) == 12
    assert sum(len(datalist[section]) for section in ("training", "validation", "test")) == 24


def test_folder_names_may_be_in_upper_case(release, tmp_path):
    (release / "AllDICOMs").rename(release / "ALLDICOMs")
    assert item_of(convert(release, tmp_path / "masks"), "20000")["image"].startswith("ALLDICOMs/")


def test_a_damaged_contour_file_is_reported(release, tmp_path):
    (release / "AllXML" / "20000.xml").write_text("<plist><dict>")
    with pytest.raises(ValueError, match=r"20000\.xml expects contours"):
        convert(release, tmp_path / "masks")


def test_renamed_images_are_reported(release, tmp_path):
    image = next((release / "AllDICOMs").iterdir())
    image.rename(image.with_name(f"{image.name.split('_')[0]}.dcm"))
    rows = (release / "INbreast.csv").read_text().replace(image.name.split("_")[0], image.name.split("_")[0] + ".dcm")
    (release / "INbreast.csv").write_text(rows)
    with pytest.raises(ValueError, match="do not rename the files"):
        convert(release, tmp_path / "masks")


def test_missing_contours_are_reported(release, tmp_path):
    (release / "AllXML").rename(release / "XML")
    with pytest.raises(FileNotFoundError, match="expects AllXML"):
        convert(release, tmp_path / "masks")


def test_downsampled_images_are_rejected(release, tmp_path):
    for path in (release / "AllDICOMs").iterdir():
        write_image(path.with_suffix(".png"), 10, 12)
        path.unlink()
    with pytest.raises(ValueError, match="expects the size of its DICOM file, got 10 x 12"):
        convert(release, tmp_path / "masks")
    write_contours(release, "20000", ("Mass", box_points(4, 6, 9, 11)))
    assert item_of(convert(release, tmp_path / "masks"), "20000")["boxes"] == {"lesion": [[4, 6, 9, 11]]}


def test_the_error_for_an_old_excel_table_states_the_remedy(release, tmp_path):
    (release / "INbreast.csv").unlink()
    (release / "INbreast.xls").write_bytes(bytes.fromhex("d0cf11e0a1b11ae1"))
    with pytest.raises(ValueError, match=r"INbreast\.xls expects CSV or \.xlsx"):
        convert(release, tmp_path / "masks")


def test_a_release_is_found_at_any_depth_and_muscle_outlines_are_not_lesions(release, tmp_path):
    (release / "PectoralMuscle/Pectoral Muscle XML").mkdir(parents=True)
    (release / "AllXML" / "20000.xml").rename(release / "PectoralMuscle/Pectoral Muscle XML" / "20000.xml")
    release.rename(tmp_path / "INbreast Release 1.0")
    release.mkdir()
    (tmp_path / "INbreast Release 1.0").rename(release / "INbreast Release 1.0")
    assert not {"masks", "boxes"} & set(item_of(convert(release, tmp_path / "masks"), "20001"))
    assert item_of(convert(release, tmp_path / "masks"), "20020")["boxes"] == {"lesion": [[3, 3, 9, 9]]}
