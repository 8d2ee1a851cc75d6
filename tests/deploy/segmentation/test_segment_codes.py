"""Codes of structures: those of the SR, with a category."""

import pytest

from mtmedformer_monai.deploy.headers.coded_names import class_concept
from mtmedformer_monai.deploy.segmentation.segment_codes import ABNORMALITY, ANATOMY, codes_of, explanation_codes


@pytest.mark.parametrize(
    ("name", "category", "value"),
    [
        ("lung", ANATOMY, "39607008"),
        ("Pectoral muscle", ANATOMY, "60005003"),
        ("calcification_cluster", ABNORMALITY, "129769006"),
        ("suture anchor", ABNORMALITY, "suture_anchor"),
        ("attribution", ABNORMALITY, "attribution"),
    ],
)
def test_a_structure_has_the_code_of_its_finding_and_a_category(name, category, value):
    assert codes_of("task", name) == (category, class_concept("task", name))
    assert codes_of("task", name)[1].value == value


def test_explanations_have_a_code_of_their_own():
    assert explanation_codes()[1] != codes_of("task", "attribution")[1]
