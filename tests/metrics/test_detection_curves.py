import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from mtmedformer_monai.metrics import average_precision, froc_curve, froc_score


def test_average_precision_by_hand():
    # Hit, miss, hit out of 4 targets: precision 1 up to recall 1/4, then 2/3 up to 1/2, then nothing.
    scores, hits = np.array([0.9, 0.8, 0.7]), np.array([True, False, True])
    assert average_precision(scores, hits, 4) == pytest.approx(0.25 * 1 + 0.25 * 2 / 3)


def test_average_precision_bounds_scikit_learn_from_above():
    # scikit-learn does not interpolate, so ours is never less; where precision falls with recall they are equal.
    rng = np.random.default_rng(0)
    scores, hits = rng.random(50), rng.random(50) > 0.5
    assert average_precision(scores, hits, hits.sum()) > average_precision_score(hits, scores)
    scores, hits = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, False, True])
    assert average_precision(scores, hits, 3) == pytest.approx(average_precision_score(hits, scores))


def test_equal_scores_enter_together():
    order = [np.array([True, False]), np.array([False, True])]
    assert [average_precision(np.array([0.5, 0.5]), hits, 1) for hits in order] == [0.5, 0.5]


def test_froc_by_hand():
    # 2 images, 4 targets: hit .9, miss .8, hit .7, miss .6. Sensitivity 1/4 at 0 FP, 1/2 from 1/2 FP an image on.
    scores, hits = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])
    per_image, sensitivity = froc_curve(scores, hits, num_targets=4, num_images=2)
    assert per_image.tolist() == [0, 0, 0.5, 0.5, 1.0]
    assert sensitivity.tolist() == [0, 0.25, 0.25, 0.5, 0.5]
    # At 1/4 the curve is halfway between (0, 1/4) and (1/2, 1/4); everywhere after it is 1/2.
    assert froc_score(scores, hits, 4, 2) == pytest.approx((0.25 + 5 * 0.5) / 6)


def test_a_lone_hit_counts():
    assert froc_score(np.array([0.9]), np.array([True]), 1, 1) == pytest.approx(1.0)


def test_no_detection_is_zero_and_no_target_is_nan():
    nothing = np.zeros(0), np.zeros(0, dtype=bool)
    assert average_precision(*nothing, 3) == 0.0
    assert froc_score(*nothing, 3, 2) == 0.0
    assert math.isnan(average_precision(*nothing, 0))
    assert math.isnan(froc_score(*nothing, 0, 2))
