"""Average precision and FROC curve of scored and matched detections."""

# N detections of one class over all images

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

FALSE_POSITIVES_PER_IMAGE = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positive rates at which the FROC score evaluates the sensitivity (CAMELYON16, LUNA16)."""


def average_precision(scores: Floats, matched: Flags, num_targets: int) -> float:
    """Returns the area under the interpolated precision-recall curve (Everingham et al., IJCV 2015, 4.2, all points).

    The interpolated precision at a recall is the maximum precision at that or any higher recall. Detections with equal
    scores are added together.

    Args:
        scores: (N,).
        matched: (N,) whether a detection is matched to a target.
        num_targets: number of ground-truth boxes; the result is NaN for 0.

    Example:
        >>> average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 2)
        0.8333333333333333
    """
    if num_targets == 0:
        return float("nan")
    true_positives, false_positives = _cumulate(scores, matched)
    recall = np.concatenate([[0.0], true_positives / num_targets])
    precision = true_positives / np.maximum(true_positives + false_positives, 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall) * best_from_here).sum())


def froc_curve(scores: Floats, matched: Flags, num_targets: int, num_images: int) -> tuple[Floats, Floats]:
    """Returns the mean false positives per image, ascending from 0, and the corresponding sensitivities.

    monai.metrics.compute_froc_curve_data is not used because it omits the lowest score (a single correct detection gets
    sensitivity 0).
    """
    true_positives, false_positives = _cumulate(scores, matched)
    per_image = np.concatenate([[0.0], false_positives / num_images])
    return per_image, np.concatenate([[0.0], true_positives / num_targets])


def froc_score(scores: Floats, matched: Flags, num_targets: int, num_images: int) -> float:
    """Returns the mean sensitivity at 1/4, 1/2, 1, 2, 4 and 8 false positives per image (CAMELYON16).

    Args:
        scores: (N,).
        matched: (N,) whether a detection is matched to a target.
        num_targets: number of ground-truth boxes; the result is NaN for 0.
        num_images: number of annotated images, including those without a target.
    """
    from monai.metrics import compute_froc_score

    if num_targets == 0:
        return float("nan")
    false_positives, sensitivity = froc_curve(scores, matched, num_targets, num_images)
    return float(compute_froc_score(false_positives[::-1], sensitivity[::-1], FALSE_POSITIVES_PER_IMAGE))


def _cumulate(scores: Floats, matched: Flags) -> tuple[Floats, Floats]:
    """Returns cumulative true and false positives at each distinct score, in descending order."""
    order = np.argsort(-scores, kind="stable")
    scores, matched = scores[order], matched[order]
    last_of_score = np.append(scores[1:] != scores[:-1], True) if len(scores) else np.zeros(0, dtype=bool)
    return np.cumsum(matched)[last_of_score].astype(float), np.cumsum(~matched)[last_of_score].astype(float)
