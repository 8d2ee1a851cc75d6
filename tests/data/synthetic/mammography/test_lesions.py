from itertools import combinations

import numpy as np
import pytest

from mtmedformer_monai.data.synthetic.mammography.breast_shape import VIEWS, draw_breasts, outline, place_in_view
from mtmedformer_monai.data.synthetic.mammography.lesions import KINDS, PATHOLOGIES, draw_lesions


def draw(pathology, seeds=60):
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        breast = draw_breasts(rng)[0]
        yield breast, draw_lesions(breast, pathology, rng)


def test_a_normal_breast_has_no_lesion():
    assert all(lesions == [] for _, lesions in draw("normal", 5))


@pytest.mark.parametrize("pathology", PATHOLOGIES[1:])
def test_an_abnormal_breast_has_a_lesion_of_its_pathology(pathology):
    kinds, counts = set(), []
    for _, lesions in draw(pathology):
        assert lesions[0].kind in KINDS[pathology]
        assert any(lesion.is_malignant for lesion in lesions) == (pathology == "malignant")
        kinds |= {lesion.kind for lesion in lesions}
        counts.append(len(lesions))
    assert kinds >= set(KINDS[pathology])
    assert {1, 2} == set(counts)


@pytest.mark.parametrize("pathology", PATHOLOGIES[1:])
def test_lesions_lie_inside_the_breast_in_both_views(pathology):
    for breast, lesions in draw(pathology):
        for lesion in lesions:
            for view in VIEWS:
                x, up = place_in_view(lesion.point, breast, view)
                assert lesion.diameter_mm / 2 < x < outline(np.array([up]), breast, view)[0] - lesion.diameter_mm / 2


def test_lesions_of_a_breast_do_not_touch():
    pairs = [(breast, pair) for breast, lesions in draw("malignant") for pair in combinations(lesions, 2)]
    assert pairs
    for breast, (first, second) in pairs:
        for view in VIEWS:
            apart = np.subtract(place_in_view(first.point, breast, view), place_in_view(second.point, breast, view))
            assert np.hypot(*apart) > 0.5 * (first.diameter_mm + second.diameter_mm)


def test_a_lesion_is_obscured_in_at_most_one_view_and_more_often_in_dense_breasts():
    hidden = {density: [] for density in "ABCD"}
    for breast, lesions in draw("malignant", 150):
        for lesion in lesions:
            seen = [lesion.visibility[view] >= 0.8 for view in VIEWS]
            assert any(seen)
            hidden[breast.density].append(not all(seen))
    assert np.mean(hidden["A"] + hidden["B"]) < np.mean(hidden["C"] + hidden["D"])
