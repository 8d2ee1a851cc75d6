import pytest

from mtmedformer_monai.data.public.mammogram_item import ImageFacts, make_mammogram, read_birads, read_density


def test_an_item_contains_the_known_facts():
    facts = ImageFacts("p", "s", "LEFT", "mlo")
    assert make_mammogram("a.dcm", facts, {"pathology": None, "breast_density": "B"}, {"boxes": {"lesion": []}}) == {
        "image": "a.dcm",
        "patient_id": "p",
        "study_id": "s",
        "laterality": "L",
        "view": "MLO",
        "labels": {"breast_density": "B"},
        "boxes": {"lesion": []},
    }
    assert "labels" not in make_mammogram("a.dcm", facts, {"pathology": None}, {})


@pytest.mark.parametrize(
    ("text", "density"),
    [("1", "A"), ("4", "D"), ("DENSITY C", "C"), ("b", "B"), ("0", None), ("5", None), ("", None), ("_", None)],
)
def test_densities(text, density):
    assert read_density(text) == density


@pytest.mark.parametrize(
    ("text", "category"), [("BI-RADS 2", "2"), ("4c", "4"), ("6", "6"), ("0", "0"), (" ", None), ("9", None)]
)
def test_assessments(text, category):
    assert read_birads(text) == category


@pytest.mark.parametrize(
    ("text", "density", "category"), [("3.0", "C", "3"), ("10", None, None), ("2.5", None, None), ("4-5", None, None)]
)
def test_numbers_of_pandas_are_read_and_ambiguous_cells_are_not(text, density, category):
    assert (read_density(text), read_birads(text)) == (density, category)


def test_an_unknown_patient_is_omitted():
    assert make_mammogram("a.png", ImageFacts("", "", "", ""), {}, {}) == {"image": "a.png"}
