import json
import logging

import pytest

from mtmedformer_monai.data.public.rsna_pneumonia import MAPPING, convert
from tests.data.little_images import find_item, images_by_section, write_image, write_lines

CLASSES = ("Lung Opacity", "Normal", "No Lung Opacity / Not Normal")


@pytest.fixture
def release(tmp_path):
    """Creates 30 images of three alternating classes; opacities have two boxes and two rows in both tables."""
    classes, labels = [], []
    for number in range(30):
        name, kind = f"id{number}", CLASSES[number % 3]
        opaque = kind == "Lung Opacity"
        for x in (100.0, 600.0) if opaque else (None,):
            classes.append(f"{name},{kind}")
            labels.append(f"{name},{x},152.5,213.0,379.0,1" if opaque else f"{name},,,,,0")
        write_lines(tmp_path / "stage_2_train_images" / f"{name}.dcm", [])
    write_lines(tmp_path / "stage_2_test_images" / "other.dcm", [])
    write_lines(tmp_path / "stage_2_detailed_class_info.csv", ["patientId,class", *classes])
    write_lines(tmp_path / "stage_2_train_labels.csv", ["patientId,x,y,width,height,Target", *labels])
    return tmp_path


def test_boxes_and_findings(release):
    datalist = convert(release)
    assert find_item(datalist, "id0.dcm") == {
        "image": "stage_2_train_images/id0.dcm",
        "patient_id": "id0",
        "boxes": {"opacity": [[100, 152.5, 313, 531.5], [600, 152.5, 813, 531.5]]},
        "labels": {"finding": "pneumonia"},
    }
    assert find_item(datalist, "id1.dcm")["labels"] == {"finding": "normal"}
    assert find_item(datalist, "id1.dcm")["boxes"] == {"opacity": []}
    assert "labels" not in find_item(datalist, "id2.dcm")
    assert find_item(datalist, "id2.dcm")["boxes"] == {"opacity": []}


def test_unlabeled_images_are_excluded(release):
    images = set().union(*images_by_section(convert(release)).values())
    assert images == {f"id{number}.dcm" for number in range(30)}


def test_with_the_mapping_images_are_split_by_chestxray14_s_patients(release, caplog):
    caplog.set_level(logging.WARNING)
    convert(release)
    assert "split by image" in caplog.text
    mapping = [{"subset_img_id": f"id{n}", "img_id": f"{n // 3:08}_{n % 3:03}.png"} for n in range(30)]
    write_lines(release / MAPPING, [json.dumps(mapping)])
    datalist = convert(release)
    assert find_item(datalist, "id13.dcm")["patient_id"] == "4"
    patients = [{item["patient_id"] for item in datalist[section]} for section in ("training", "validation", "test")]
    assert all(patients)
    assert sum(map(len, patients)) == 10


def test_an_unknown_class_is_rejected(release):
    path = release / "stage_2_detailed_class_info.csv"
    path.write_text(path.read_text().replace("Normal", "Fine", 1))
    with pytest.raises(ValueError, match="expects classes"):
        convert(release)


def rewritten(release, name, change):
    """Changes the rows of a table."""
    path = release / name
    header, *lines = path.read_text().splitlines()
    write_lines(path, [header, *filter(None, map(change, lines))])
    return release


BOXES = "stage_2_train_labels.csv"


@pytest.mark.parametrize(("one", "zero"), [("1.0", "0.0"), ("True", "False"), ("TRUE", "FALSE")])
def test_targets_saved_again_are_read_identically(release, one, zero):
    expected = convert(release)
    changed = rewritten(release, BOXES, lambda line: line[:-1] + (one if line.endswith("1") else zero))
    assert convert(changed) == expected


@pytest.mark.parametrize("number", [0, 1], ids=["opaque", "normal"])
@pytest.mark.parametrize(
    "change",
    [lambda line: "", lambda line: line[:-1], lambda line: line[:-1] + "NaN"],
    ids=["no row", "no target", "NaN"],
)
def test_an_image_without_table_entries_is_not_annotated(release, number, change):
    rewritten(release, BOXES, lambda line: change(line) if line.startswith(f"id{number},") else line)
    item = find_item(convert(release), f"id{number}.dcm")
    assert "boxes" not in item
    assert item["labels"] == {"finding": ("pneumonia", "normal")[number]}
    assert find_item(convert(release), "id3.dcm")["boxes"]["opacity"]


def test_an_opacity_without_a_box_is_not_annotated(release):
    rewritten(release, BOXES, lambda line: "id0,,,,,1" if line.startswith("id0,") else line)
    rewritten(release, BOXES, lambda line: "id4,1,2,3,4,1" if line.startswith("id4,") else line)
    for name in ("id0", "id4"):
        assert "boxes" not in find_item(convert(release), f"{name}.dcm")


def test_an_unknown_target_is_rejected(release):
    rewritten(release, BOXES, lambda line: line[:-1] + "2")
    with pytest.raises(ValueError, match=r"expects targets \['1', '0', 'true', 'false'\], got \['2'\]"):
        convert(release)


def test_images_without_a_class_keep_their_boxes(release):
    rewritten(release, "stage_2_detailed_class_info.csv", lambda line: "" if line.startswith("id0,") else line)
    item = find_item(convert(release), "id0.dcm")
    assert "labels" not in item
    assert len(item["boxes"]["opacity"]) == 2


@pytest.mark.parametrize("name", [BOXES, "stage_2_detailed_class_info.csv"])
def test_a_missing_table_is_reported_with_what_was_found(release, name):
    (release / name).unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"expects the dataset's table {name}; found stage_2_.*Supported: stage_2"
    ):
        convert(release)


def test_stage_1_is_supported_in_a_subfolder(release, tmp_path):
    expected = images_by_section(convert(release))
    for path in sorted(release.iterdir()):
        path.rename(path.with_name(path.name.replace("stage_2", "stage_1")))
    assert images_by_section(convert(release)) == expected


def test_boxes_are_clipped_and_scaled_to_smaller_copies(release):
    for path in (release / "stage_2_train_images").iterdir():
        path.unlink()
        write_image(path.with_suffix(".png"), 512, 512)
    rewritten(release, BOXES, lambda line: "id0,1000,152.5,213.0,379.0,1" if line.startswith("id0,") else line)
    datalist = convert(release)
    assert find_item(datalist, "id3.png")["boxes"]["opacity"] == [
        [50, 76.25, 156.5, 265.75],
        [300, 76.25, 406.5, 265.75],
    ]
    assert find_item(datalist, "id0.png")["boxes"]["opacity"] == [[500, 76.25, 512, 265.75]] * 2
