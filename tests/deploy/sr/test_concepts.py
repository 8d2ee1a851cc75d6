import re

import pytest
from pydicom.sr._concepts_dict import concepts as dictionary

from mtmedformer_monai.deploy.sr import concepts, mammography_cad
from mtmedformer_monai.deploy.sr.mammography_cad import finding_code


def standard_codes():
    tables = [concepts._TASKS, concepts._CLASSES, concepts._COMPOSITION, concepts.LATERALITIES, concepts.BREASTS]
    codes = [code for table in (*tables, mammography_cad._FINDINGS) for code in table.values()]
    for module in (concepts, mammography_cad):
        codes += [value for value in vars(module).values() if isinstance(value, concepts.Code)]
    return [code for code in codes if code.scheme_designator in {"DCM", "SCT"}]


def meanings_of(scheme, value):
    """Meanings in lower case, without zero-width spaces and SNOMED's semantic tags such as '(finding)'."""
    entries = [entry for entries in dictionary[scheme].values() for entry in entries.items()]
    found = (meaning.replace("\u200b", "") for code, (meaning, _) in entries if code == value)
    return {re.sub(r" \([a-z ]*\)$", "", meaning).lower() for meaning in found}


def test_standard_codes_are_those_of_pydicoms_dictionary():
    known = {key: meanings_of(*key) for key in {(code.scheme_designator, code.value) for code in standard_codes()}}
    wrong = [code for code in standard_codes() if code.meaning.lower() not in known[code.scheme_designator, code.value]]
    assert wrong == []


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
    assert concepts.class_concept(task, name).value == value


@pytest.mark.parametrize("text", ["x" * 100, "Probability of a rather long class name", "肺炎", "結核", "a\\b", ""])
def test_private_codes_respect_the_limits_of_their_elements(text):
    code = concepts.private_concept(text)
    assert 0 < len(code.value) <= 16
    assert 0 < len(code.meaning) <= 64
    assert (code.value + code.meaning).isascii()
    assert "\\" not in code.value + code.meaning
    assert code == concepts.private_concept(text)


def test_different_names_have_different_codes():
    names = ["肺炎", "結核", "", "x" * 70, "x" * 71, "probability of normal", "probability of neoplasm"]
    assert len({concepts.private_concept(name).value for name in names}) == len(names)


@pytest.mark.parametrize(
    ("name", "value"), [("mass", "129793001"), ("Calcification", "129769006"), ("lesion", "111099")]
)
def test_cad_findings_are_terms_of_context_group_6014(name, value):
    assert finding_code(name).value == value
