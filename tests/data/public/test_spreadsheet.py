import zipfile

import pytest

from mtmedformer_monai.data.public.spreadsheet import read_sheet
from tests.data.little_sheets import write_sheet


@pytest.mark.parametrize("shared", [True, False], ids=["shared strings", "inline strings"])
def test_cells_are_keyed_by_their_column_titles(tmp_path, shared):
    rows = [["name", "density", "side"], ["P1 ", "", "L"], ["P2", 3, "R"]]
    path = write_sheet(tmp_path / "a.xlsx", {"other": [["x"], ["y"]], "all": rows}, shared)
    assert read_sheet(path, "all", ["name", "density"]) == [
        {"name": "P1", "density": "", "side": "L"},
        {"name": "P2", "density": "3", "side": "R"},
    ]
    assert read_sheet(path, "other", ["x"]) == [{"x": "y"}]


def test_without_a_sheet_of_the_name_the_first_is_read(tmp_path):
    path = write_sheet(tmp_path / "a.xlsx", {"Sheet1": [["x"], ["y"]], "Sheet2": [["z"], ["w"]]})
    assert read_sheet(path, "all", ["x"]) == [{"x": "y"}]


def test_a_missing_column_and_an_empty_sheet_are_reported(tmp_path):
    path = write_sheet(tmp_path / "a.xlsx", {"all": [["x"], ["y"]], "empty": []})
    for sheet in ("all", "empty"):
        with pytest.raises(ValueError, match=r"columns \['density'\]"):
            read_sheet(path, sheet, ["density"])


def test_another_file_is_rejected(tmp_path):
    (tmp_path / "a.xlsx").write_text("no archive")
    with pytest.raises(ValueError, match="expects an Excel file"):
        read_sheet(tmp_path / "a.xlsx", "all", ["x"])


def test_a_file_that_unpacks_to_an_implausible_size_is_refused(tmp_path):
    path = write_sheet(tmp_path / "a.xlsx", {"all": [["x"], ["y"]]})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/calcChain.xml", bytes(2**27))
    assert path.stat().st_size < 2**20
    with pytest.raises(ValueError, match="expects at most 134,217,728 bytes"):
        read_sheet(path, "all", ["x"])
