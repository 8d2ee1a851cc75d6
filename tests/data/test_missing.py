import math

import numpy as np
import pytest

from mtmedformer_monai.data import join_datalists, read_datalist, save_datalist, split_by_patient, summarize_datalist
from mtmedformer_monai.data.check import check_datalist
from mtmedformer_monai.data.missing import id_text, is_missing, is_null
from tests.data.little_images import write_image

MISSING = [None, math.nan, np.float32("nan"), "", "  ", "nan", "NaN", "None", "NA", "N/A", "<NA>", "null"]


@pytest.mark.parametrize("value", MISSING, ids=repr)
def test_missing_values_are_recognized(value):
    assert is_missing(value)
    assert id_text(value) == ""


@pytest.mark.parametrize("value", [0, 12, "p1", "nancy", "0012", False, "1.2.840"], ids=repr)
def test_other_values_are_not_missing(value):
    assert not is_missing(value)
    assert not is_null(value)
    assert id_text(value) == str(value)


def test_a_class_may_have_a_name_that_is_missing_for_identifiers():
    assert not is_null("none")
    assert is_null(math.nan)


@pytest.mark.parametrize("missing", MISSING, ids=repr)
def test_items_without_a_patient_cannot_be_split(missing):
    items = [{"image": f"{k}.png", "patient_id": missing if k % 2 else f"p{k}"} for k in range(12)]
    with pytest.raises(ValueError, match="item 1 has no 'patient_id'"):
        split_by_patient(items)


def test_an_integer_and_its_float_are_the_same_patient():
    items = [{"image": f"{k}.png", "patient_id": (k // 3, float(k // 3), f"{k // 3}.0")[k % 3]} for k in range(60)]
    sections = split_by_patient(items)
    patients = [{int(float(item["patient_id"])) for item in section} for section in sections.values()]
    assert sum(map(len, patients)) == 20


def make_datalist(folder, ids):
    items = [
        {"image": write_image(folder / f"{name}.png").name, "patient_id": name_id} for name, name_id in ids.items()
    ]
    return save_datalist({"training": items[:1], "validation": items[1:], "test": []}, folder / "a.json")


def test_missing_patients_are_not_the_same_patient(tmp_path):
    """Uses JSON with NaN, which Python writes and reads."""
    path = make_datalist(tmp_path, {"a": math.nan, "b": math.nan})
    assert check_datalist(path) == []
    (row,) = [line.split() for line in summarize_datalist(path).splitlines() if line.startswith("patients")]
    assert row == ["patients", "0", "0", "0", "0"]
    joined = read_datalist(join_datalists({"north": path}, tmp_path / "joined.json"))
    assert [item.get("patient_id") for item in (*joined["training"], *joined["validation"])] == [None, None]


def test_a_patient_in_two_sections_is_found_however_the_number_is_written(tmp_path):
    (problem,) = check_datalist(make_datalist(tmp_path, {"a": 7, "b": 7.0}))
    assert "its patient is also in training[0]" in str(problem)
