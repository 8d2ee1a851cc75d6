"""Average precision and free-response sensitivity from scored, matched detections."""

# N detections of one class over all images

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

FALSE_POSITIVES_PER_IMAGE = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Where the FROC score reads the sensitivity (CAMELYON16, LUNA16)."""


def average_precision(scores: Floats, matched: Flags, num_targets: int) -> float:
    """Area under the interpolated precision-recall curve, every point of it (Everingham et al., IJCV 2015, 4.2).

    Precision at a recall is the best precision at that or any higher recall. Detections of equal score enter together.

    Args:
        scores: (N,).
        matched: (N,) whether the detection found a target.
        num_targets: true boxes; NaN is returned for 0.

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
    """Mean false positives per image, ascending from 0, and the sensitivity there.

    Written out because monai.metrics.compute_froc_curve_data leaves the lowest score out of the curve (a lone right
    detection gets sensitivity 0 there).
    """
    true_positives, false_positives = _cumulate(scores, matched)
    per_image = np.concatenate([[0.0], false_positives / num_images])
    return per_image, np.concatenate([[0.0], true_positives / num_targets])


def froc_score(scores: Floats, matched: Flags, num_targets: int, num_images: int) -> float:
    """Mean sensitivity at 1/4, 1/2, 1, 2, 4 and 8 false positives per image (CAMELYON16).

    Args:
        scores: (N,).
        matched: (N,) whether the detection found a target.
        num_targets: true boxes; NaN is returned for 0.
        num_images: annotated images, those without a target included.
    """
    from monai.metrics import compute_froc_score

    if num_targets == 0:
        return float("nan")
    false_positives, sensitivity = froc_curve(scores, matched, num_targets, num_images)
    return float(compute_froc_score(false_positives[::-1], sensitivity[::-1], FALSE_POSITIVES_PER_IMAGE))


def _cumulate(scores: Floats, matched: Flags) -> tuple[Floats, Floats]:
    """True and false positives at each distinct score, best first."""
    order = np.argsort(-scores, kind="stable")
    scores, matched = scores[order], matched[order]
    last_of_score = np.append(scores[1:] != scores[:-1], True) if len(scores) else np.zeros(0, dtype=bool)
    return np.cumsum(matched)[last_of_score].astype(float), np.cumsum(~matched)[last_of_score].astype(float)
