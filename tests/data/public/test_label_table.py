import pytest

from mtmedformer_monai.data.public.label_table import has_label_table, read_label_table, read_table
from tests.data.little_images import write_lines


def test_rows_are_read_by_their_titles(tmp_path):
    write_lines(tmp_path / "labels.csv", ["\ufeffimage,split,label", 'a.png,train,"x, y"', "b.png,test"])
    assert has_label_table(tmp_path)
    rows = read_label_table(tmp_path, ["label"])
    assert [(row["image"], row["split"], row["label"]) for row in rows] == [
        ("a.png", "train", "x, y"),
        ("b.png", "test", ""),
    ]


def test_a_missing_column_is_named(tmp_path):
    write_lines(tmp_path / "labels.csv", ["image,split", "a.png,train"])
    with pytest.raises(ValueError, match=r"columns \['label'\]"):
        read_label_table(tmp_path, ["label"])


def test_another_split_is_told(tmp_path):
    write_lines(tmp_path / "labels.csv", ["image,split", "a.png,dev"])
    with pytest.raises(ValueError, match=r"got \['dev'\]"):
        read_label_table(tmp_path, [])


def test_spaces_around_titles_and_cells_go(tmp_path):
    path = write_lines(tmp_path / "t.csv", ["ImageId; EncodedPixels", '1.2;" 3 4\n"'])
    assert read_table(path, ["EncodedPixels"], delimiter=";") == [{"ImageId": "1.2", "EncodedPixels": "3 4"}]


def test_an_empty_or_missing_table_is_told(tmp_path):
    assert not has_label_table(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"expects the set's table labels\.csv"):
        read_table(tmp_path / "labels.csv", ["image"])
    with pytest.raises(ValueError, match="expects rows"):
        read_table(write_lines(tmp_path / "labels.csv", ["image"]), ["image"])
