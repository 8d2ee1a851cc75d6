from collections import Counter

import numpy as np

from mtmedformer_monai.data.synthetic.mammography.study import draw_study
from mtmedformer_monai.data.synthetic.mammography.styles import STYLES

SHARES = {"normal": 0.25, "benign": 0.375, "malignant": 0.375}


def draw(count, shares=SHARES):
    return [draw_study(shares, STYLES["plain"], np.random.default_rng([7, number])) for number in range(count)]


def test_patients_have_the_requested_pathologies():
    assert {study.worst_pathology for study in draw(20, {"normal": 1.0})} == {"normal"}
    counts = Counter(study.worst_pathology for study in draw(200))
    assert all(abs(counts[name] / 200 - share) < 0.1 for name, share in SHARES.items())


def test_one_breast_is_the_worse_and_either_side_may_be():
    worse = Counter()
    for study in draw(100, {"malignant": 1.0}):
        right, left = study.sides
        assert (right.laterality, left.laterality) == ("R", "L")
        assert [side.pathology for side in study.sides].count("malignant") == 1
        assert right.breast.density == left.breast.density
        worse[right.pathology == "malignant"] += 1
    assert 30 < worse[True] < 70


def test_lesions_agree_with_the_label():
    for study in draw(100):
        for side in study.sides:
            assert bool(side.lesions) == (side.pathology != "normal")
            assert any(lesion.is_malignant for lesion in side.lesions) == (side.pathology == "malignant")


def test_three_or_four_different_views_show_both_breasts():
    counts = Counter()
    for study in draw(200):
        names = {(side.laterality, view) for side, view in study.shots}
        assert len(names) == len(study.shots)
        assert {laterality for laterality, _ in names} == {"R", "L"}
        counts[len(names)] += 1
    assert set(counts) == {3, 4}
    assert 0.05 < counts[3] / 200 < 0.2
