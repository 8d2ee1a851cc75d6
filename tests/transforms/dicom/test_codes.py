"""The tables of codes agree with pydicom's dictionary in every value."""

import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from mtmedformer_monai.transforms.dicom.codes import (
    ERECT,
    REGIONS,
    VIEW_MODIFIERS,
    VIEWS,
    code_item,
    region_of,
    view_modifier_of,
    view_of,
)

# The names in the tables, with the keywords of pydicom's context groups.
DX_VIEWS = {
    "PA": "PosteroAnterior",
    "AP": "AnteroPosterior",
    "LL": "LeftLateral",
    "RL": "RightLateral",
    "LAT": "LateralProjection",
}
MAMMOGRAPHY_VIEWS = {
    "CC": "CranioCaudal",
    "MLO": "MedioLateralObliqueProjection",
    "ML": "MedioLateralProjection",
    "LM": "LateroMedial",
    "LMO": "LateroMedialOblique",
    "FB": "CaudoCranial",
    "SIO": "SuperolateralToInferomedialOblique",
    "ISO": "InferomedialToSuperolateralOblique",
    "XCCL": "CranioCaudalExaggeratedLaterally",
    "XCCM": "CranioCaudalExaggeratedMedially",
    "SPECIMEN": "TissueSpecimenFromBreast",
}
MODIFIERS = {
    "implant displaced": "ImplantDisplaced",
    "spot compression": "SpotCompression",
    "magnification": "Magnification",
}
CONCEPTS = [
    *((VIEWS[name], getattr(codes.cid4010, keyword)) for name, keyword in DX_VIEWS.items()),
    *((VIEWS[name], getattr(codes.cid4014, keyword)) for name, keyword in MAMMOGRAPHY_VIEWS.items()),
    *((VIEW_MODIFIERS[name], getattr(codes.cid4015, keyword)) for name, keyword in MODIFIERS.items()),
    (REGIONS["CHEST"], codes.cid4031.Chest),
    (REGIONS["BREAST"], codes.cid4031.Breast),
    (ERECT, codes.cid19.Erect),
]


@pytest.mark.parametrize(("term", "concept"), CONCEPTS, ids=[concept.meaning for _, concept in CONCEPTS])
def test_terms_are_those_of_pydicoms_dictionary(term, concept):
    assert (term.value, term.scheme, term.meaning) == (concept.value, concept.scheme_designator, concept.meaning)


def test_every_view_is_compared():
    assert {**DX_VIEWS, **MAMMOGRAPHY_VIEWS}.keys() == VIEWS.keys()


@pytest.mark.parametrize("name", [name for name in VIEWS if name != "SPECIMEN"])
def test_older_values_are_the_same_concepts_in_pydicoms_snomed_mapping(name):
    (older,) = VIEWS[name].older
    assert Code(older, "SRT", "") == Code(VIEWS[name].value, "SCT", "")
    assert view_of(coded(older)) == name


def coded(value):
    item = Dataset()
    item.CodeValue = value
    return item


def test_items_of_every_release_are_read():
    assert [view_of(coded(value)) for value in ("272479007", "R-10206", "399162004", "1")] == ["PA", "AP", "CC", ""]
    assert [region_of(coded(value)) for value in ("T-D3000", "816094009", "T-04000")] == ["CHEST", "CHEST", "BREAST"]
    assert view_modifier_of(coded("R-102D6")) == "magnification"
    assert view_of(Dataset()) == ""


def test_written_items_are_read():
    assert [view_of(code_item(term)) for term in VIEWS.values()] == list(VIEWS)
    assert code_item(VIEWS["PA"]).CodingSchemeDesignator == "SCT"
