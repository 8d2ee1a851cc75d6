import pytest

from mtmedformer_monai.transforms.view_names import is_known_view, normalize_laterality, normalize_view


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
def test_normalized_names_are_unchanged(view):
    assert normalize_view(view) == view
    assert is_known_view(view)


@pytest.mark.parametrize(
    ("text", "side"), [("L", "L"), ("left", "L"), (" r ", "R"), ("Both", "B"), ("U", ""), (None, ""), ("LR", "")]
)
def test_sides(text, side):
    assert normalize_laterality(text) == side
