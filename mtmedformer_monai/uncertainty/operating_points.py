"""Operating thresholds for stated sensitivities, with the cases behind them and their confidence intervals."""

# N cases

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Floats = NDArray[np.float64]
Interval = tuple[float, float]

DECIMALS = 6
"""Thresholds are rounded down to as many decimals as reported probabilities have."""

MIN_POSITIVES = 10
"""Minimum number of positive cases from which a threshold is fitted."""

MOST_FALSE_BOXES = 2.0
"""Maximum mean number of false boxes per image at a threshold; more would hide the findings among them."""


@dataclass(frozen=True)
class OperatingPoint:
    """The threshold of one class for one stated sensitivity.

    Attributes:
        class_name: the class.
        sensitivity: stated sensitivity.
        threshold: minimum score of a positive decision; None if no threshold reaches the sensitivity, in detection with
            at most `MOST_FALSE_BOXES` false boxes per image.
        cases: number of positive cases (boxes in detection) in the validation data.
        attained: sensitivity of the threshold on these cases; without a threshold, the highest that can be reached.
        interval: 95 percent Wilson interval of `attained`.
        negatives: number of negative cases; None in detection.
        specificity: specificity on these cases; None in detection, or without a threshold or negative cases.
        specificity_interval: 95 percent Wilson interval of `specificity`, or None.
        false_positives_per_image: in detection, the mean number of false boxes at the threshold; otherwise None.
    """

    class_name: str
    sensitivity: float
    threshold: float | None
    cases: int
    attained: float
    interval: Interval
    negatives: int | None = None
    specificity: float | None = None
    specificity_interval: Interval | None = None
    false_positives_per_image: float | None = None


def wilson_interval(hits: int, cases: int, confidence: float = 0.95) -> Interval:
    """Returns the score interval of a proportion (Wilson, JASA 1927).

    Args:
        hits: number of successes.
        cases: number of trials; the interval is (0, 1) for 0.
        confidence: coverage.

    Example:
        >>> tuple(round(bound, 3) for bound in wilson_interval(9, 10))
        (0.596, 0.982)
    """
    if cases == 0:
        return 0.0, 1.0
    z = float(norm.ppf(0.5 + confidence / 2.0))
    share, scale = hits / cases, 1.0 + z * z / cases
    center = (share + z * z / (2 * cases)) / scale
    half = z / scale * math.sqrt(share * (1.0 - share) / cases + z * z / (4 * cases * cases))
    low, high = max(0.0, center - half), min(1.0, center + half)
    return (0.0 if hits == 0 else low), (1.0 if hits == cases else high)


def threshold_for(sensitivity: float, positive_scores: Floats, total: int | None = None) -> float | None:
    """Returns the highest threshold that at least the stated share of positive cases reaches, rounded down.

    Args:
        sensitivity: stated sensitivity in (0, 1].
        positive_scores: (N,) scores of positive cases; in detection, of the boxes that were found.
        total: number of positive cases, if some have no score; N by default.

    Returns:
        The threshold, or None if too few of the cases have a score.

    Raises:
        ValueError: if the sensitivity is not in (0, 1].

    Example:
        >>> threshold_for(0.5, np.array([0.9, 0.2, 0.8, 0.4]))
        0.8
    """
    if not 0.0 < sensitivity <= 1.0:
        raise ValueError(f"sensitivity expects a number above 0 and up to 1, got {sensitivity}.")
    needed = math.ceil(sensitivity * (len(positive_scores) if total is None else total) - 1e-9)
    if needed > len(positive_scores) or needed < 1:
        return None
    exact = float(np.sort(positive_scores)[::-1][needed - 1])
    return math.floor(exact * 10**DECIMALS) / 10**DECIMALS


def fit_class_points(
    class_name: str, scores: Floats, positive: NDArray[np.bool_], sensitivities: Sequence[float]
) -> list[OperatingPoint]:
    """Fits the operating points of one class of a classification.

    Args:
        class_name: the class.
        scores: (N,) scores of annotated cases.
        positive: (N,) whether the case has the class.
        sensitivities: stated sensitivities.

    Returns:
        One point per sensitivity; none with fewer than `MIN_POSITIVES` positive cases.
    """
    hits, misses = scores[positive], scores[~positive]
    if len(hits) < MIN_POSITIVES:
        return []
    points = []
    for sensitivity in sensitivities:
        threshold = threshold_for(sensitivity, hits)
        lowest = -math.inf if threshold is None else threshold
        found, rejected = int((hits >= lowest).sum()), int((misses < lowest).sum())
        points.append(
            OperatingPoint(
                class_name,
                sensitivity,
                threshold,
                len(hits),
                found / len(hits),
                wilson_interval(found, len(hits)),
                len(misses),
                rejected / len(misses) if len(misses) else None,
                wilson_interval(rejected, len(misses)) if len(misses) else None,
            )
        )
    return points


def fit_box_points(
    class_name: str,
    scores: Floats,
    matched: NDArray[np.bool_],
    num_targets: int,
    num_images: int,
    sensitivities: Sequence[float],
) -> list[OperatingPoint]:
    """Fits the operating points of one class of a detection; a case is an annotated box.

    Args:
        class_name: the class.
        scores: (N,) scores of the detections.
        matched: (N,) whether a detection is matched to an annotated box.
        num_targets: number of annotated boxes.
        num_images: number of annotated images, with and without boxes.
        sensitivities: stated sensitivities.

    Returns:
        One point per sensitivity; none with fewer than `MIN_POSITIVES` boxes.
    """
    if num_targets < MIN_POSITIVES:
        return []
    usable = scores > _score_of_too_many(scores[~matched], num_images)
    scores, matched = scores[usable], matched[usable]
    points = []
    for sensitivity in sensitivities:
        threshold = threshold_for(sensitivity, scores[matched], num_targets)
        kept = scores >= (-math.inf if threshold is None else threshold)
        found = int((kept & matched).sum())
        false = int((kept & ~matched).sum()) / num_images if threshold is not None else None
        interval = wilson_interval(found, num_targets)
        points.append(
            OperatingPoint(
                class_name,
                sensitivity,
                threshold,
                num_targets,
                found / num_targets,
                interval,
                false_positives_per_image=false,
            )
        )
    return points


def _score_of_too_many(false_scores: Floats, num_images: int) -> float:
    """Returns the highest score down to which there are too many false boxes; -inf if there are never."""
    allowed = math.floor(MOST_FALSE_BOXES * num_images)
    return float(np.sort(false_scores)[::-1][allowed]) if len(false_scores) > allowed else -math.inf


def select_thresholds(points: Sequence[OperatingPoint], sensitivity: float) -> dict[str, float]:
    """Returns {class: threshold} of the points for a stated sensitivity; classes that do not reach it are omitted.

    Raises:
        ValueError: if points exist, but none for this sensitivity.
    """
    stated = sorted({point.sensitivity for point in points})
    if points and not any(math.isclose(sensitivity, each) for each in stated):
        raise ValueError(
            f"sensitivity expects one that was fitted, {stated}, got {sensitivity}; select one of them, or run "
            f"mtmedformer calibrate with --sensitivity {sensitivity}."
        )
    chosen = [point for point in points if math.isclose(point.sensitivity, sensitivity)]
    return {point.class_name: point.threshold for point in chosen if point.threshold is not None}


def describe_points(points: Sequence[OperatingPoint]) -> list[str]:
    """Returns one sentence per point, for a log."""
    return [_describe(point) for point in points]


def _describe(point: OperatingPoint) -> str:
    low, high = point.interval
    reached = f"{point.attained:.3f} [{low:.3f}, {high:.3f}] of {point.cases} cases"
    if point.threshold is None:
        return f"{point.class_name}: no threshold reaches a sensitivity of {point.sensitivity:g}; at most {reached}"
    cost: Mapping[str, float | None] = {
        "specificity": point.specificity,
        "false boxes per image": point.false_positives_per_image,
    }
    costs = "".join(f", {name} {value:.3f}" for name, value in cost.items() if value is not None)
    return (
        f"{point.class_name}: threshold {point.threshold:.6f} for {point.sensitivity:g}: sensitivity {reached}{costs}"
    )
