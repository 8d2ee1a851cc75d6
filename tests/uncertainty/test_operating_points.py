import numpy as np
import pytest
from scipy.stats import binomtest

from mtmedformer_monai.uncertainty.operating_points import (
    OperatingPoint,
    fit_box_points,
    fit_class_points,
    select_thresholds,
    threshold_for,
    wilson_interval,
)

TEN = np.arange(1, 11) / 10  # 0.1 to 1.0


@pytest.mark.parametrize(("hits", "cases"), [(0, 7), (3, 7), (7, 7), (90, 100), (1, 1)])
def test_the_interval_agrees_with_scipy(hits, cases):
    expected = binomtest(hits, cases).proportion_ci(method="wilson")
    assert wilson_interval(hits, cases) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_no_cases_leave_everything_open():
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("sensitivity", "total", "expected"),
    [(0.9, None, 0.2), (0.85, None, 0.2), (1.0, None, 0.1), (0.05, None, 1.0), (0.5, 20, 0.1), (0.51, 20, None)],
    ids=["nine of ten", "8.5 cases are nine", "all", "one", "half found", "too few found"],
)
def test_threshold_reaches_the_sensitivity(sensitivity, total, expected):
    assert threshold_for(sensitivity, TEN, total) == expected


def test_threshold_is_rounded_down_so_that_its_case_stays_in():
    assert threshold_for(1.0, np.array([0.12345678])) == 0.123456


@pytest.mark.parametrize("sensitivity", [0.0, 1.1, float("nan")])
def test_impossible_sensitivities_are_refused(sensitivity):
    with pytest.raises(ValueError, match="above 0 and up to 1"):
        threshold_for(sensitivity, TEN)


def test_class_points_by_hand():
    scores = np.concatenate([TEN, np.array([0.05, 0.15, 0.25, 0.95])])
    (point,) = fit_class_points("p", scores, np.arange(14) < 10, [0.9])
    assert (point.threshold, point.cases, point.attained) == (0.2, 10, 0.9)
    assert (point.negatives, point.specificity) == (4, 0.5)  # 0.05 and 0.15 lie below 0.2
    assert point.interval == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert fit_class_points("p", scores, np.arange(14) < 9, [0.9]) == []


def test_box_points_by_hand():
    scores = np.concatenate([TEN, np.array([0.15, 0.3, 0.4])])
    reached, missed = fit_box_points("b", scores, np.arange(13) < 10, 12, 4, [0.75, 0.95])
    assert (reached.threshold, reached.attained) == (0.2, 0.75)  # nine of twelve
    assert reached.false_positives_per_image == 0.5  # two false boxes in four images
    assert (missed.threshold, missed.attained, missed.false_positives_per_image) == (None, 10 / 12, None)


@pytest.mark.parametrize(("false", "threshold", "attained"), [(4, 0.2, 0.9), (5, None, 0.8)], ids=["two", "more"])
def test_a_threshold_has_at_most_two_false_boxes_per_image(false, threshold, attained):
    scores = np.concatenate([TEN, np.full(false, 0.25)])
    (point,) = fit_box_points("b", scores, np.arange(len(scores)) < 10, 10, 2, [0.9])
    assert (point.threshold, point.attained) == (threshold, attained)


def test_thresholds_are_selected_by_the_stated_sensitivity():
    points = [OperatingPoint(name, s, t, 10, s, (0, 1)) for name, s, t in
              (("a", 0.9, 0.3), ("a", 0.95, 0.2), ("b", 0.9, None), ("b", 0.95, None))]  # fmt: skip
    assert select_thresholds(points, 0.95) == {"a": 0.2}
    assert select_thresholds([], 0.5) == {}
    with pytest.raises(ValueError, match=r"\[0.9, 0.95\], got 0.5"):
        select_thresholds(points, 0.5)
