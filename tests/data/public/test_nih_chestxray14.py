import pytest

from mtmedformer_monai.data.public.nih_chestxray14 import convert, make_item
from tests.data.little_images import find_item, images_by_section, write_image, write_lines

ENTRIES = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)


@pytest.fixture
def published(tmp_path):
    """Creates 20 training patients with two images each (those of the last are missing) and four test images."""
    names = [f"{patient:08}_{image:03}.png" for patient in range(20) for image in range(2)]
    findings = ["No Finding" if index % 4 else "Infiltration|Pneumonia" for index in range(40)]
    tested = {
        "00000100_000.png": "Pneumonia",
        "00000100_001.png": "Pneumonia",
        "00000101_000.png": "No Finding",
        "00000102_000.png": "Mass",
    }
    table = dict(zip(names, findings, strict=True)) | tested
    rows = [f"{name},{finding},0,{int(name[:8])},50,M,PA,2500,2048,0.1,0.1," for name, finding in table.items()]
    write_lines(tmp_path / "Data_Entry_2017_v2020.csv", [ENTRIES, *rows])
    boxes = ["00000100_000.png,Pneumonia,100,200,300,400,,,", "00000102_000.png,Mass,1,2,3,4,,,"]
    write_lines(tmp_path / "BBox_List_2017.csv", ["Image Index,Finding Label,Bbox [x,y,w,h],,,", *boxes])
    write_lines(tmp_path / "train_val_list.txt", names)
    write_lines(tmp_path / "test_list.txt", tested)
    for index, name in enumerate([*names[:-2], *tested]):
        write_image(tmp_path / f"images_00{index % 2 + 1}" / "images" / name, 512, 256)
    return tmp_path


def test_the_official_lists_are_kept_and_missing_images_excluded(published):
    sections = images_by_section(convert(published))
    assert sections["test"] == {"00000100_000.png", "00000100_001.png", "00000101_000.png", "00000102_000.png"}
    assert len(sections["training"]) + len(sections["validation"]) == 38
    assert not {name[:8] for name in sections["training"]} & {name[:8] for name in sections["validation"]}
    assert len(sections["validation"]) >= 4


def test_boxes_of_pneumonia_become_corners_in_pixels_of_the_file(published):
    item = find_item(convert(published), "00000100_000.png")
    assert item["image"].startswith("images_00")
    assert item["boxes"] == {"opacity": [[50.0, 50.0, 200.0, 150.0]]}  # 1024 px to 512 x 256
    assert item["labels"] == {"finding": "pneumonia"}
    assert item["patient_id"] == "100"


def test_annotations_depend_on_the_findings(published):
    datalist = convert(published)
    assert "boxes" not in find_item(datalist, "00000100_001.png")
    assert find_item(datalist, "00000101_000.png")["boxes"] == {"opacity": []}
    assert find_item(datalist, "00000101_000.png")["labels"] == {"finding": "normal"}
    assert set(find_item(datalist, "00000102_000.png")) == {"image", "patient_id"}


def test_no_finding_with_another_finding_is_not_normal():
    assert "labels" not in make_item("a.png", ["No Finding", "Mass"], [], "1")


def test_a_folder_without_images_is_reported(published):
    for path in published.glob("images*/**/*.png"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="expects PNG files below images"):
        convert(published)


@pytest.mark.parametrize("name", ["Data_Entry_2017_v2020.csv", "BBox_List_2017.csv", "test_list.txt"])
def test_a_missing_table_is_reported(published, name):
    (published / name).unlink()
    with pytest.raises(FileNotFoundError, match=name.partition("_v")[0]):
        convert(published)


def test_the_flat_layout(tmp_path):
    box = '"[{""label"": ""Pneumonia"", ""box"": [10.5, 20, 30, 40.1]}, {""label"": ""Mass"", ""box"": [1, 1, 1, 1]}]"'
    rows = [
        f"images/1.png,Edema|Pneumonia,{box},7,train",
        "images/2.png,Pneumonia,,8,val",
        "images/3.png,No Finding,,9,test",
    ]
    write_lines(tmp_path / "labels.csv", ["image,nih_labels,boxes_xywh_json,patient_id,split", *rows])
    datalist = convert(tmp_path)
    assert datalist["training"] == [
        {
            "image": "images/1.png",
            "patient_id": "7",
            "labels": {"finding": "pneumonia"},
            "boxes": {"opacity": [[10.5, 20, 40.5, 60.1]]},
        }
    ]
    assert "boxes" not in datalist["validation"][0]
    assert datalist["test"][0]["boxes"] == {"opacity": []}


@pytest.mark.parametrize("place", [".", "data"])
def test_a_release_is_found_at_any_depth_and_with_a_quoted_header(published, place, tmp_path):
    expected = images_by_section(convert(published))
    path = published / "BBox_List_2017.csv"
    path.write_text(path.read_text().replace("Bbox [x,y,w,h]", '"Bbox [x,y,w,h]"'))
    if place != ".":
        (published / place).mkdir()
        for entry in [entry for entry in published.iterdir() if entry.name != place]:
            entry.rename(published / place / entry.name)
    datalist = convert(published)
    assert images_by_section(datalist) == expected
    assert find_item(datalist, "00000100_000.png")["boxes"] == {"opacity": [[50.0, 50.0, 200.0, 150.0]]}


def test_kaggles_sample_is_split_by_patient_and_has_no_boxes(tmp_path):
    findings = ["No Finding", "Pneumonia", "Mass", ""]
    names = {
        f"{patient:08}_{image:03}.png": findings[(patient + image) % 4] for patient in range(20) for image in (0, 1)
    }
    rows = [f"{name},{finding},0,,50Y,M,PA" for name, finding in names.items()]
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    write_lines(tmp_path / "sample" / "sample_labels.csv", [header, *rows])
    for name in names:
        write_image(tmp_path / "sample" / "images" / name)
    datalist = convert(tmp_path)
    assert find_item(datalist, "00000007_000.png")["patient_id"] == "7"  # from the file name, since the column is empty
    assert find_item(datalist, "00000000_000.png")["boxes"] == {"opacity": []}
    assert set(find_item(datalist, "00000001_000.png")) == {"image", "patient_id", "labels"}
    assert set(find_item(datalist, "00000003_000.png")) == {"image", "patient_id"}  # the cell is empty
    patients = [{item["patient_id"] for item in datalist[section]} for section in ("training", "validation", "test")]
    assert sum(map(len, patients)) == 20


@pytest.mark.parametrize(
    ("box", "boxes"),
    [("900,900,400,400", [[450, 225, 512, 256]]), ("1024,0,40,40", None), ("100,200,0,400", None), (",,,", None)],
    ids=["reaches out", "beyond the edge", "no width", "blank"],
)
def test_images_with_boxes_without_area_are_not_annotated(published, box, boxes):
    path = published / "BBox_List_2017.csv"
    path.write_text(path.read_text().replace("100,200,300,400", box))
    item = find_item(convert(published), "00000100_000.png")
    assert item.get("boxes") == (boxes and {"opacity": boxes})


def test_boxes_that_are_not_numeric_are_reported(published):
    path = published / "BBox_List_2017.csv"
    path.write_text(path.read_text().replace("100,200", "100,wide"))
    with pytest.raises(ValueError, match=r"BBox_List_2017\.csv expects numbers in the column 'y', got 'wide'"):
        convert(published)


def test_a_subset_without_the_label_of_the_split(tmp_path):
    names = [f"{number:08}_000.png" for number in range(20)]
    write_lines(
        tmp_path / "sample_labels.csv", ["Image Index,Finding Labels,Patient ID", *(f"{n},Hernia," for n in names)]
    )
    for name in names:
        write_image(tmp_path / "images" / name)
    datalist = convert(tmp_path)
    assert [len(datalist[section]) for section in ("training", "validation", "test")] == [14, 3, 3]
