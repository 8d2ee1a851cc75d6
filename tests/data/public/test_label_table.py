from pathlib import Path

import pytest

from mtmedformer_monai.data.public.label_table import (
    has_label_table,
    read_choice,
    read_label_table,
    read_number,
    read_table,
)
from tests.data.little_images import write_lines
from tests.data.little_sheets import write_sheet


def test_rows_are_read_by_their_titles(tmp_path):
    write_lines(tmp_path / "labels.csv", ["\ufeffimage,split,label", 'a.png,train,"x, y"', "b.png,test"])
    assert has_label_table(tmp_path)
    rows = read_label_table(tmp_path, ["label"])
    assert [(row["image"], row["split"], row["label"]) for row in rows] == [
        ("a.png", "train", "x, y"),
        ("b.png", "test", ""),
    ]


def test_a_missing_column_is_reported(tmp_path):
    write_lines(tmp_path / "labels.csv", ["image,split", "a.png,train"])
    with pytest.raises(ValueError, match=r"columns \['label'\]"):
        read_label_table(tmp_path, ["label"])


def test_an_unknown_split_is_reported(tmp_path):
    write_lines(tmp_path / "labels.csv", ["image,split", "a.png,dev"])
    with pytest.raises(ValueError, match=r"got \['dev'\]"):
        read_label_table(tmp_path, [])


def test_titles_and_cells_are_stripped(tmp_path):
    path = write_lines(tmp_path / "t.csv", ["ImageId; EncodedPixels", '1.2;" 3 4\n"'])
    assert read_table(path, ["EncodedPixels"], delimiter=";") == [{"ImageId": "1.2", "EncodedPixels": "3 4"}]


def test_an_empty_or_missing_table_is_reported(tmp_path):
    assert not has_label_table(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"expects the dataset's table labels\.csv"):
        read_table(tmp_path / "labels.csv", ["image"])
    with pytest.raises(ValueError, match="expects rows"):
        read_table(write_lines(tmp_path / "labels.csv", ["image"]), ["image"])


EXPECTED = [{"patientId": "p1", "x": "1.5", "Target": "1"}, {"patientId": "p2", "x": "", "Target": "0"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"], ids=["comma", "semicolon", "tab", "bar"])
def test_a_table_saved_again_is_read_identically(tmp_path, encoding, delimiter):
    """Covers reordered columns, an index column, case and spaces in titles, and missing values of pandas."""
    lines = [["", "target", "Patient ID", "X"], ["0", "1", "p1", "1.5"], [], ["1", "0", "p2", "nan"]]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(map(delimiter.join, lines)), encoding=encoding)
    assert read_table(path, ["patientId", "x", "Target"]) == EXPECTED


def test_a_table_may_be_an_excel_file(tmp_path):
    rows = [["Target", "patient_id", "x"], [1, "p1", "1.5"], [0, "p2", ""]]
    assert read_table(write_sheet(tmp_path / "t.xlsx", {"any": rows}), ["patientId", "x", "Target"]) == EXPECTED


@pytest.mark.parametrize(
    "header",
    [
        "name;Bbox [x,y,w,h];;;",
        "name,Bbox [x,y,w,h],,,",
        'name,"Bbox [x,y,w,h]",,,',
        'name,"Bbox [x,y,w,h]",Unnamed: 2,Unnamed: 3,Unnamed: 4',
    ],
    ids=["semicolons", "as published", "quoted", "saved by pandas"],
)
def test_a_title_may_cover_several_cells(tmp_path, header):
    path = write_lines(tmp_path / "t.csv", [header, "a,1,2,3,4,,,".replace(",", ";" if ";" in header else ",")])
    (row,) = read_table(path, ["name", "Bbox [x", "y", "w", "h]"])
    assert list(row.values())[:5] == ["a", "1", "2", "3", "4"]


def test_a_missing_column_is_reported_with_those_found(tmp_path):
    path = write_lines(tmp_path / "t.csv", ["image,split", "a,train"])
    with pytest.raises(ValueError, match=r"columns \['label'\], found 1 rows with \['image', 'split'\]"):
        read_table(path, ["image", "label"])


def test_numbers_of_cells(tmp_path):
    path = tmp_path / "t.csv"
    cells = ["1", "1.0", "-2,5", ".5", "1e2", ""]
    assert [read_number({"x": cell}, "x", path) for cell in cells] == [1, 1, -2.5, 0.5, 100, None]
    for text in ("inf", "1.2.3", "1_0", "wide"):
        with pytest.raises(ValueError, match=f"t.csv expects numbers in the column 'x', got '{text}'"):
            read_number({"x": text}, "x", path)


def test_choices_of_cells(tmp_path):
    assert read_choice("TRAINING", ["training", "test"], "splits", tmp_path) == "training"
    with pytest.raises(ValueError, match=r"expects splits \['training', 'test'\], got \['dev'\]"):
        read_choice("dev", ["training", "test"], "splits", tmp_path)


def test_a_row_without_an_image_is_reported(tmp_path):
    write_lines(tmp_path / "labels.csv", ["image,split", "nan,train"])
    with pytest.raises(ValueError, match="expects an image in every row"):
        read_label_table(tmp_path, [])


@pytest.mark.parametrize("outside", ["../a.png", "images/../../a.png", "/etc/passwd"])
@pytest.mark.parametrize("column", ["image", "mask_lung"])
def test_files_outside_of_the_folder_are_refused(tmp_path, monkeypatch, outside, column):
    row = {"image": "images/a.png", "mask_lung": "masks/../a.png", "split": "train"}
    write_lines(tmp_path / "set" / "labels.csv", [",".join(row), ",".join((row | {column: outside}).values())])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"expects files inside its folder, got '{outside}'"):
        read_label_table(Path("set"), [])
    write_lines(tmp_path / "set" / "labels.csv", [",".join(row), ",".join(row.values())])
    assert read_label_table(Path("set"), ["mask_lung"]) == [row]


def test_a_table_of_an_implausible_size_is_refused(tmp_path):
    with (tmp_path / "a.csv").open("wb") as stream:
        stream.truncate(2**27 + 1)  # takes no space on disk
    with pytest.raises(ValueError, match="expects at most 134,217,728 bytes"):
        read_table(tmp_path / "a.csv", ["x"])
