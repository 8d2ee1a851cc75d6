from collections import Counter

import pytest

from mtmedformer_monai.data import read_datalist, save_datalist, split_by_patient
from mtmedformer_monai.data.split import hold_out_validation, split_datalist


def make_items(patients=100, images_each=2):
    """Every fourth patient has pneumonia."""
    return [
        {
            "image": f"{patient}-{image}.png",
            "patient_id": str(patient),
            "labels": {"finding": "normal" if patient % 4 else "pneumonia"},
        }
        for patient in range(patients)
        for image in range(images_each)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_no_patient_is_in_two_sections_and_no_image_is_lost(seed):
    items = make_items()
    sections = split_by_patient(items, seed=seed)
    patients = [{item["patient_id"] for item in part} for part in sections.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 100
    assert sorted(item["image"] for part in sections.values() for item in part) == sorted(i["image"] for i in items)


def test_sections_have_their_fractions():
    sections = split_by_patient(make_items(), {"training": 0.5, "validation": 0.3, "test": 0.2})
    assert {name: len(part) for name, part in sections.items()} == {"training": 100, "validation": 60, "test": 40}


def test_every_section_gets_its_fraction_of_each_class():
    sections = split_by_patient(make_items(), {"training": 0.6, "test": 0.4}, stratify_on="finding")
    counts = {name: Counter(item["labels"]["finding"] for item in part) for name, part in sections.items()}
    assert counts == {"training": {"normal": 90, "pneumonia": 30}, "test": {"normal": 60, "pneumonia": 20}}


def test_items_without_the_label_and_with_several_are_split_too():
    items = [{"image": str(n), "patient_id": str(n)} for n in range(10)]
    items += [{"image": f"m{n}", "patient_id": f"m{n}", "labels": {"signs": ["edema", "mass"]}} for n in range(10)]
    sections = split_by_patient(items, {"training": 0.5, "test": 0.5}, stratify_on="signs")
    assert Counter("labels" in item for item in sections["test"]) == {True: 5, False: 5}


def test_the_order_of_items_does_not_matter_and_the_seed_does():
    items = make_items()
    first, turned = split_by_patient(items, seed=3), split_by_patient(items[::-1], seed=3)
    assert all(part == turned[name][::-1] for name, part in first.items())
    assert split_by_patient(items, seed=4)["test"] != first["test"]


@pytest.mark.parametrize("patient", [{}, {"patient_id": None}, {"patient_id": ""}], ids=["left out", "null", "empty"])
def test_an_item_without_a_patient_is_rejected(patient):
    with pytest.raises(ValueError, match=r"item 4 has no 'patient_id'.*pseudonym"):
        split_by_patient([*make_items(2), {"image": "x.png", **patient}])


@pytest.mark.parametrize(
    "fractions",
    [{"training": 0.5}, {"training": 0.5, "dev": 0.5}, {"training": 1.5, "test": -0.5}],
    ids=["sum", "name", "negative"],
)
def test_invalid_fractions_are_rejected(fractions):
    with pytest.raises(ValueError, match="fractions expects numbers"):
        split_by_patient(make_items(), fractions)


def test_too_few_patients_are_reported():
    with pytest.raises(ValueError, match="1 patients are too few"):
        split_by_patient(make_items(1))


def test_a_task_without_labels_is_reported():
    with pytest.raises(ValueError, match="stratify_on='view'"):
        split_by_patient(make_items(), stratify_on="view")


def test_a_datalist_is_split_again_with_valid_paths(tmp_path):
    source = save_datalist({"training": make_items(), "test": [], "name": "set"}, tmp_path / "a" / "datalist.json")
    target = split_datalist(source, tmp_path / "b", {"validation": 1.0}, seed=1)
    datalist = read_datalist(target)
    assert target == tmp_path / "b" / "datalist.json"
    assert (datalist["training"], datalist["test"], datalist["name"]) == ([], [], "set")
    assert datalist["validation"][0]["image"] == str(tmp_path / "a" / "0-0.png")


def test_the_held_out_validation_is_split_by_patient_and_deterministic():
    items = [
        {"image": str(number), "patient_id": number // 2, "labels": {"x": "ab"[number % 4 // 2]}}
        for number in range(40)
    ]
    sections = hold_out_validation(items, stratify_on="x")
    assert {name: len(section) for name, section in sections.items()} == {"training": 34, "validation": 6}
    patients = [{item["patient_id"] for item in section} for section in sections.values()]
    assert not patients[0] & patients[1]
    assert hold_out_validation(items[::-1], stratify_on="x")["validation"][::-1] == sections["validation"]
