import json

import numpy as np
import pytest

from mtmedformer_monai.data.public.v7_lungs import convert, draw_mask
from mtmedformer_monai.transforms.read_mask import read_mask
from tests.data.little_images import find_item, images_by_section, write_image, write_lines


def points(*corners):
    return [{"x": x, "y": y} for x, y in corners]


def rectangle(x1, y1, x2, y2):
    return {"name": "Lung", "polygon": {"path": points((x1, y1), (x2, y1), (x2, y2), (x1, y2))}}


def export(folder, name, annotations, original=""):
    """Writes one image of 12 x 8 pixels and its Darwin file."""
    write_image(folder / "images" / f"{name}.png", width=12, height=8)
    image = {"filename": f"{name}.png", "original_filename": original, "width": 12, "height": 8}
    record = {"image": image, "annotations": annotations}
    write_lines(folder / "annotations" / f"{name}.json", [json.dumps(record)])


@pytest.fixture
def published(tmp_path):
    """Creates 20 images of different patients, and one without lungs."""
    for number in range(20):
        export(tmp_path, str(number), [rectangle(1, 2, 4, 6), rectangle(7, 2, 11, 6), {"name": "Viral", "tag": {}}])
    export(tmp_path, "lateral", [{"name": "COVID-19", "tag": {}}])
    return tmp_path


def test_both_lungs_are_drawn_at_the_image_s_size(published, tmp_path):
    item = find_item(convert(published, tmp_path / "drawn"), "3.png")
    mask = read_mask(published / item["masks"]["lung"])
    assert mask.shape == (8, 12)
    expected = np.zeros((8, 12), bool)
    expected[2:6, 1:4] = expected[2:6, 7:11] = True
    assert np.array_equal(mask, expected)


def test_images_without_lungs_are_excluded_and_tags_are_not_labels(published):
    datalist = convert(published)
    assert set.union(*images_by_section(datalist).values()) == {f"{number}.png" for number in range(20)}
    assert find_item(datalist, "3.png") == {
        "image": "images/3.png",
        "masks": {"lung": "lung_masks/3.png"},
        "patient_id": "3",
    }
    assert [len(datalist[section]) for section in ("training", "validation", "test")] == [14, 3, 3]


def test_images_of_one_patient_stay_together(published):
    for number in range(8):
        export(published, f"k{number}", [rectangle(0, 0, 4, 4)], original=f"person5_bacteria_{number}.jpeg")
        export(published, f"t{number}", [rectangle(0, 0, 4, 4), {"name": "Patient ID/9", "tag": {}}])
    sections = images_by_section(convert(published))
    for letter in "kt":
        assert sorted(sum(name.startswith(letter) for name in names) for names in sections.values()) == [0, 0, 8]


def test_polygons_of_several_paths_are_drawn_whole(published):
    lung = {
        "name": "Lung",
        "polygon": {"paths": [rectangle(0, 0, 2, 2)["polygon"]["path"], points((4, 4), (8, 4), (8, 8), (4, 8))]},
    }
    export(published, "new", [lung])
    mask = read_mask(published / find_item(convert(published), "new.png")["masks"]["lung"])
    assert (mask[:2, :2].all(), mask[4:8, 4:8].all(), int(mask.sum())) == (True, True, 20)


def test_a_triangle_covers_the_pixels_whose_centers_it_contains(tmp_path):
    image = write_image(tmp_path / "a.png", width=4, height=4)
    mask = read_mask(draw_mask([[(0, 0), (4, 4), (0, 4)]], image, tmp_path / "m.png"))
    assert np.array_equal(np.tril(mask, -1), np.tril(np.ones((4, 4), bool), -1))
    assert not np.triu(mask, 1).any()


def test_exports_of_darwin_2_are_read(published):
    path = published / "annotations" / "3.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({"version": "2.0", "item": {"name": "3.png"}, "annotations": record["annotations"]}))
    assert find_item(convert(published), "3.png")["masks"] == {"lung": "lung_masks/3.png"}


@pytest.mark.parametrize("record", [{}, {"image": {"filename": "3.png"}}], ids=["no image", "no annotations"])
def test_another_json_file_is_reported(published, record):
    (published / "annotations" / "3.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"3\.json expects an image's file name"):
        convert(published)


def test_a_folder_without_exports_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match="expects images/ and annotations"):
        convert(tmp_path)


FLAT = "image,mask_lung,label,finding_raw,lung_boxes_xywh,patient_id,split,source_site"


def flat_item(folder, label, raw, mask="masks/a.png", patient="7", site="www.x.org"):
    row = f'images/a.png,{mask},{label},"{raw}","[{{""box"": [1, 2, 3, 4]}}]",{patient},val,{site}'
    write_lines(folder / "labels.csv", [FLAT, row])
    (item,) = convert(folder)["validation"]
    return item


def test_the_flat_layout(tmp_path):
    assert flat_item(tmp_path, "COVID-19", "COVID-19, ARDS") == {
        "image": "images/a.png",
        "masks": {"lung": "masks/a.png"},
        "labels": {"finding": "pneumonia"},
        "patient_id": "7",
        "site": "www.x.org",
    }
    assert set(flat_item(tmp_path, "UNLABELLED", "Unknown", "", "", "")) == {"image"}


@pytest.mark.parametrize(
    ("label", "raw", "labels"),
    [
        ("NO_FINDING", "No Finding", {"finding": "normal"}),
        ("OTHER_PNEUMONIA", "Klebsiella", {"finding": "pneumonia"}),
        ("OTHER_PNEUMONIA", "Bacterial", {"finding": "pneumonia", "pneumonia_type": "bacterial"}),
        ("OTHER_PNEUMONIA", "Mycoplasma Bacterial Pneumonia", {"finding": "pneumonia", "pneumonia_type": "bacterial"}),
        ("OTHER_PNEUMONIA", "Viral Pneumonia", {"finding": "pneumonia", "pneumonia_type": "viral"}),
        ("OTHER_PNEUMONIA", "viral and bacterial", {"finding": "pneumonia"}),
        ("COVID-19", "viral", {"finding": "pneumonia"}),
        ("Lipoid", "Lipoid", None),
    ],
)
def test_labels_of_the_flat_layout(tmp_path, label, raw, labels):
    assert flat_item(tmp_path, label, raw).get("labels") == labels


@pytest.mark.parametrize(
    "lung",
    [{"path": []}, {"paths": [[], points((4, 4), (8, 4), (8, 8))]}, {"path": points((1, 1), (5, 5))}, {}],
    ids=["no points", "one path without", "a line", "empty"],
)
def test_an_image_with_a_lung_without_outline_is_excluded(published, lung):
    export(published, "3", [rectangle(1, 2, 4, 6), {"name": "Lung", "polygon": lung}])
    assert "3.png" not in images_by_section(convert(published))["training"]
    assert sum(map(len, images_by_section(convert(published)).values())) == 19


def test_exports_in_subfolders_and_images_with_another_extension_are_read(published):
    (published / "repository").mkdir()
    (published / "annotations").rename(published / "repository" / "annotations")
    (published / "images").rename(published / "repository" / "images")
    (published / "repository/images/3.png").rename(published / "repository/images/3.PNG")
    again = convert(published)
    assert sum(map(len, images_by_section(again).values())) == 20
    assert find_item(again, "3.PNG")["image"] == "repository/images/3.PNG"
