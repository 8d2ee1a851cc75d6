import json
import logging

import pytest

from mtmedformer_monai.data.public.rsna_pneumonia import MAPPING, convert
from tests.data.little_images import find_item, images_by_section, write_lines

CLASSES = ("Lung Opacity", "Normal", "No Lung Opacity / Not Normal")


@pytest.fixture
def release(tmp_path):
    """30 images, of the three classes in turn; what is opaque has two boxes, and stands in both tables twice."""
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


def test_unlabeled_images_are_left_out(release):
    images = set().union(*images_by_section(convert(release)).values())
    assert images == {f"id{number}.dcm" for number in range(30)}


def test_with_the_mapping_images_are_split_by_chestxray14_s_patients(release, caplog):
    caplog.set_level(logging.WARNING)
    convert(release)
    assert "split one by one" in caplog.text
    mapping = [{"subset_img_id": f"id{n}", "img_id": f"{n // 3:08}_{n % 3:03}.png"} for n in range(30)]
    write_lines(release / MAPPING, [json.dumps(mapping)])
    datalist = convert(release)
    assert find_item(datalist, "id13.dcm")["patient_id"] == "4"
    patients = [{item["patient_id"] for item in datalist[section]} for section in ("training", "validation", "test")]
    assert all(patients)
    assert sum(map(len, patients)) == 10


def test_another_class_is_refused(release):
    path = release / "stage_2_detailed_class_info.csv"
    path.write_text(path.read_text().replace("Normal", "Fine", 1))
    with pytest.raises(ValueError, match="expects classes"):
        convert(release)
