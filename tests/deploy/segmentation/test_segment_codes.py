"""Codes of structures: as in pydicom's copy of the standard."""

import pytest
from pydicom.sr._concepts_dict import concepts

from mtmedformer_monai.deploy.segmentation.segment_codes import ABNORMALITY, ANATOMY, FUNCTION, STRUCTURES, codes_of


def meanings(term):
    """All meanings that the standard has for a code."""
    found = (entry[term.value][0] for entry in concepts[term.scheme].values() if term.value in entry)
    return {meaning.lower() for meaning in found}


@pytest.mark.parametrize("term", [ANATOMY, ABNORMALITY, FUNCTION, *(kind for _, kind in STRUCTURES.values())], ids=str)
def test_every_term_has_the_meaning_of_the_standard(term):
    assert term.meaning.lower() in meanings(term)


@pytest.mark.parametrize("name", ["suture anchor", "x" * 100, "Größe\\2", "", "  "])
def test_other_structures_get_a_private_code_that_is_valid(name):
    _, term = codes_of(name)
    assert term.scheme.startswith("99")
    assert 0 < len(term.value) <= 16
    assert 0 < len(term.meaning) <= 64
    assert "\\" not in term.value + term.meaning
    assert term.meaning.isascii()
