import pytest

from mtmedformer_monai.data.study_problems import study_problems, view_problems


@pytest.mark.parametrize("item", [{}, {"laterality": "L", "view": "MLO"}, {"laterality": "", "view": ""}])
def test_valid_sides_and_views(item):
    assert list(view_problems(item)) == []


@pytest.mark.parametrize(
    ("item", "text"),
    [({"laterality": "B"}, "expects 'L' or 'R', got 'B'"), ({"laterality": 1}, "got 1"), ({"view": 2}, "expects text")],
)
def test_invalid_sides_and_views_are_reported(item, text):
    (problem,) = view_problems(item)
    assert text in problem


def places(*entries):
    """Builds places from (section, study, patient)."""
    return [
        (section, n, {"study_id": study, "patient_id": patient}) for n, (section, study, patient) in enumerate(entries)
    ]


def test_consistent_studies_have_no_problems():
    entries = [
        ("training", "s", "p"),
        ("training", "s", "p"),
        ("test", "t", "q"),
        ("test", None, "r"),
        ("training", "", "r"),
    ]
    assert list(study_problems(places(*entries))) == []


def test_a_study_in_two_sections_is_reported_at_its_first_image_in_the_second():
    entries = [("training", "s", "p"), ("test", "s", "p"), ("test", "s", "p")]
    ((position, text),) = study_problems(places(*entries))
    assert position == 1
    assert "its study is also in training[0]" in text


def test_a_study_of_two_patients_is_reported():
    entries = [("test", "s", "p"), ("test", "s", None), ("test", "s", "q"), ("test", "s", "q")]
    ((position, text),) = study_problems(places(*entries))
    assert position == 2
    assert "another patient at test[0]" in text
