import pytest
from pydicom.sr import codedict

from mtmedformer_monai.transforms.view_names import VIEW_OF_CODE, is_known_view, normalize_laterality, normalize_view


@pytest.mark.parametrize(
    ("text", "view"),
    [
        ("CC", "CC"),
        ("rcc", "CC"),
        ("L-MLO", "MLO"),
        ("R_ML", "ML"),
        ("LMO", "LMO"),
        ("LLMO", "LMO"),
        ("LM", "LM"),
        ("LL", "LL"),
        ("RL", "RL"),
        ("MLOID", "MLO"),
        ("RCCID", "CC"),
        ("medio-lateral oblique", "MLO"),
        ("postero-anterior", "PA"),
        ("LLO", "LLO"),
        ("Swimmer's", "SWIMMERS"),
        ("", ""),
        (None, ""),
    ],
)
def test_views(text, view):
    assert normalize_view(text) == view


@pytest.mark.parametrize("view", ["CC", "MLO", "LMO", "PA", "XCCL", "SPECIMEN"])
def test_a_name_stays(view):
    assert normalize_view(view) == view
    assert is_known_view(view)


def test_codes_are_those_of_the_dictionary_of_pydicom():
    """Its keywords changed between releases, its meanings hardly."""
    concepts = codedict.codes.cid4014
    meanings = {getattr(concepts, name).meaning.lower(): getattr(concepts, name).value for name in concepts.dir()}
    expected = {
        "cranio-caudal": "CC",
        "caudo-cranial": "FB",
        "latero-medial": "LM",
        "latero-medial oblique": "LMO",
        "cranio-caudal exaggerated laterally": "XCCL",
        "cranio-caudal exaggerated medially": "XCCM",
        "superolateral to inferomedial oblique": "SIO",
        "inferomedial to superolateral oblique": "ISO",
        "tissue specimen from breast": "SPECIMEN",
    }
    assert {meaning: VIEW_OF_CODE[meanings[meaning]] for meaning in expected} == expected
    assert set(meanings.values()) <= set(VIEW_OF_CODE)


def test_older_codes_name_the_same_views():
    assert {VIEW_OF_CODE["R-10242"], VIEW_OF_CODE["R-10226"]} == {"CC", "MLO"}


@pytest.mark.parametrize(
    ("text", "side"), [("L", "L"), ("left", "L"), (" r ", "R"), ("Both", "B"), ("U", ""), (None, ""), ("LR", "")]
)
def test_sides(text, side):
    assert normalize_laterality(text) == side
