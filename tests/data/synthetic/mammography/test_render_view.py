import numpy as np
import pytest

from mtmedformer_monai.data.synthetic.mammography.render_view import render_view
from mtmedformer_monai.data.synthetic.mammography.scanner import MAMMOGRAPHY_SCANNERS
from mtmedformer_monai.data.synthetic.mammography.study import Side
from mtmedformer_monai.data.synthetic.mammography.styles import STYLES

SIZE = 128
SCANNERS = pytest.mark.parametrize(
    "scanner", MAMMOGRAPHY_SCANNERS, ids=[scanner.name for scanner in MAMMOGRAPHY_SCANNERS]
)


def make(scanner, laterality="R", view="CC", seed=0, style="plain"):
    rng, style = np.random.default_rng(seed), STYLES[style]
    breast = style.draw_breasts(rng)[0]
    side = Side(laterality, breast, "malignant", style.draw_lesions(breast, "malignant", rng))
    return render_view(side, view, scanner, SIZE, style, rng)


@SCANNERS
@pytest.mark.parametrize("laterality", ["R", "L"])
def test_the_chest_wall_is_on_the_side_defined_by_the_device(scanner, laterality):
    """The chest wall of a right breast is on the right, unless the device mirrors images."""
    image = make(scanner, laterality)
    wall_left = image.breast[:, 0].sum() > image.breast[:, -1].sum()
    assert wall_left == ((laterality == "L") != scanner.is_mirrored)


@SCANNERS
@pytest.mark.parametrize("style", sorted(STYLES))
def test_both_sides_of_a_patient_are_mirror_images_except_for_the_annotation(scanner, style):
    right, left = make(scanner, "R", style=style), make(scanner, "L", style=style)
    np.testing.assert_array_equal(right.breast, left.breast[:, ::-1])
    np.testing.assert_array_equal(right.lesions, [mask[:, ::-1] for mask in left.lesions])
    np.testing.assert_array_equal(right.appearance.values[right.breast], left.appearance.values[:, ::-1][right.breast])


@SCANNERS
@pytest.mark.parametrize("view", ["CC", "MLO"])
@pytest.mark.parametrize("style", sorted(STYLES))
def test_lesions_lie_in_the_breast(scanner, view, style):
    image = make(scanner, view=view, style=style)
    assert image.appearance.values.shape == (SIZE, round(SIZE / scanner.receptor.aspect))
    assert image.spacing_mm == scanner.receptor.field_mm / SIZE
    for mask in image.lesions:
        assert mask.any()
        assert not (mask & ~image.breast).any()


def test_annotations_are_burned_in_except_in_raw_images():
    for scanner in MAMMOGRAPHY_SCANNERS:
        image = make(scanner, "L")
        corner = image.appearance.values[:20, :40] if scanner.is_mirrored else image.appearance.values[:20, -40:]
        assert (corner.max() - corner.min() >= 0.5) != scanner.is_raw
