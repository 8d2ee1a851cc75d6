"""Codes of names: those of the standard where there are some, and otherwise one private code for each name."""

import pytest

from mtmedformer_monai.deploy.headers.coded_names import class_concept, private_concept


@pytest.mark.parametrize(
    ("task", "name", "value"),
    [
        ("breast_density", "A", "129716005"),
        ("breast_density", "d", "129719003"),
        ("grade", "A", "a"),
        ("pathology", "malignant", "21594007"),
        ("opacity_box", "Opacity", "112001"),
    ],
)
def test_classes_have_standard_codes_where_there_are_some(task, name, value):
    assert class_concept(task, name).value == value


@pytest.mark.parametrize("text", ["x" * 100, "Probability of a rather long class name", "肺炎", "結核", "a\\b", ""])
def test_private_codes_respect_the_limits_of_their_elements(text):
    code = private_concept(text)
    assert 0 < len(code.value) <= 16
    assert 0 < len(code.meaning) <= 64
    assert (code.value + code.meaning).isascii()
    assert "\\" not in code.value + code.meaning
    assert code == private_concept(text)


def test_different_names_have_different_codes():
    names = ["肺炎", "結核", "", "x" * 70, "x" * 71, "probability of normal", "probability of neoplasm"]
    names += ["HER2", "HER2+", "HER2-", "attribution", "Attribution of a classification"]
    assert len({private_concept(name).value for name in names}) == len(names)
