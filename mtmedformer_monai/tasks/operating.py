"""Decides classes by operating thresholds, which are fitted for stated sensitivities on validation data.

The first class of a task with exclusive classes is the reference, such as 'normal', and has no threshold of its own.
"""

# K classes

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor


def class_scores(kind: str, probs: Tensor) -> Tensor:
    """Returns the scores that are compared with operating thresholds, (..., K).

    The score of a class is its probability; for ordinal classes, it is the probability of this or a higher class.

    Args:
        kind: 'binary', 'multiclass', 'multilabel' or 'ordinal'.
        probs: probabilities (..., K).

    Example:
        >>> import torch
        >>> class_scores("ordinal", torch.tensor([0.5, 0.25, 0.25]))
        tensor([1.0000, 0.5000, 0.2500])
    """
    return probs.flip(-1).cumsum(-1).flip(-1) if kind == "ordinal" else probs


def decided_classes(kind: str, classes: Sequence[str]) -> list[str]:
    """Returns the classes that may have an operating threshold: all labels, or all classes but the reference."""
    return list(classes if kind == "multilabel" else classes[1:])


def decide(kind: str, probs: Mapping[str, float], thresholds: Mapping[str, float]) -> dict[str, Any]:
    """Returns the decision about one image.

    - Multi-label: `classes`, those that reach their threshold (0.5 if a class has none).
    - Binary: `class`, the second one if it reaches its threshold. Without a threshold, the most probable class.
    - Multi-class and ordinal: `class`, the most probable one, and `flagged`, all that reach their threshold.

    Args:
        kind: kind of the task.
        probs: {class: probability}, in the order of the task's classes.
        thresholds: {class: threshold}; may be empty.

    Returns:
        The decision and, if there are thresholds, `thresholds`.
    """
    used: dict[str, Any] = {"thresholds": dict(thresholds)} if thresholds else {}
    if kind == "multilabel":
        return {"classes": [name for name, value in probs.items() if value >= thresholds.get(name, 0.5)], **used}
    likeliest = max(probs, key=lambda name: probs[name])
    if not thresholds:
        return {"class": likeliest}
    flagged = [name for name in thresholds if _score(kind, probs, name) >= thresholds[name]]
    if kind == "binary":
        reference, positive = probs
        return {"class": positive if positive in flagged else reference, **used}
    return {"class": likeliest, "flagged": flagged, **used}


def check_thresholds(task: str, thresholds: Mapping[str, float], known: Sequence[str]) -> dict[str, float]:
    """Validates operating thresholds.

    Raises:
        ValueError: if a class is unknown, or a threshold is not in 0..1.
    """
    unknown = sorted(set(thresholds) - set(known))
    if unknown:
        raise ValueError(f"task {task!r} expects thresholds of classes out of {list(known)}, got {unknown}.")
    for name, value in thresholds.items():
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"task {task!r} expects a threshold of 0 to 1 for {name!r}, got {value}.")
    return dict(thresholds)


def _score(kind: str, probs: Mapping[str, float], name: str) -> float:
    if kind != "ordinal":
        return probs[name]
    higher = list(probs.values())[list(probs).index(name) :]
    return round(sum(higher) + 5e-7 * len(higher), 6)  # each was rounded by up to half a millionth
