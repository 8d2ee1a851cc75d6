import re

import pytest
from pydicom.sr._concepts_dict import concepts as dictionary
from pydicom.sr.coding import Code

from mtmedformer_monai.deploy.headers import coded_names
from mtmedformer_monai.deploy.segmentation import segment_codes
from mtmedformer_monai.deploy.sr import concepts, mammography_cad
from mtmedformer_monai.deploy.sr.mammography_cad import finding_code


def standard_codes():
    tables = [concepts._TASKS, concepts.LATERALITIES, concepts.BREASTS, concepts.SITES, mammography_cad._FINDINGS]
    tables += [coded_names.ANATOMY, coded_names.FINDINGS, coded_names.COMPOSITION]
    codes = [code for table in tables for code in table.values()]
    for module in (concepts, coded_names, mammography_cad, segment_codes):
        codes += [value for value in vars(module).values() if isinstance(value, Code)]
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
    ("name", "value"), [("mass", "129793001"), ("Calcification", "129769006"), ("lesion", "111099")]
)
def test_cad_findings_are_terms_of_context_group_6014(name, value):
    assert finding_code(name).value == value
