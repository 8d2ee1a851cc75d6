"""Converts the findings of tasks, `Task.describe`, to the dataclasses of the results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtmedformer_monai.keys import UNCERTAINTY
from mtmedformer_monai.tasks.applicability import NOT_APPLICABLE
from mtmedformer_monai.tasks.base import Task

from .results import BoxResult, ClassResult, MaskResult

Spacing = tuple[float, float] | None
"""Row and column spacing in mm, or None."""


def describe_masks(
    task: Task, finding: Mapping[str, Any], masks: NDArray[np.bool_], spacing: Spacing
) -> tuple[MaskResult, ...]:
    """Measures the masks of a task.

    Args:
        task: task with `structures`.
        finding: its finding, with uncertainty of each structure if it was estimated.
        masks: bool (C, H, W), in pixels of the source.
        spacing: row and column spacing in mm.
    """
    pixel_mm2 = None if spacing is None else spacing[0] * spacing[1]
    measures = finding.get(UNCERTAINTY, {})
    results = []
    for name, mask in zip(task.structures, masks, strict=True):
        area = int(np.count_nonzero(mask))
        results.append(
            MaskResult(
                structure=name,
                area_px=area,
                area_fraction=round(area / mask.size, 6),
                area_mm2=None if pixel_mm2 is None else round(area * pixel_mm2, 3),
                threshold=getattr(task, "threshold", None),
                uncertainty={measure: float(values[name]) for measure, values in measures.items() if name in values},
            )
        )
    return tuple(results)


MIN_BOX_SCORE = 0.2
"""Smallest score of a reported box if calibration has set no threshold. Metrics count boxes of lower scores, too, but
a report with all of them would be unreadable."""


def describe_boxes(task: Task, finding: Mapping[str, Any], spacing: Spacing) -> tuple[BoxResult, ...]:
    """Converts the boxes of a task, in pixels of the source; without those of a score below the threshold."""
    thresholds = getattr(task, "thresholds", None) or {}
    return tuple(
        _describe_box(task, box, spacing)
        for box in finding["boxes"]
        if float(box["score"]) >= thresholds.get(str(box["class"]), MIN_BOX_SCORE)
    )


def _describe_box(task: Task, found: Mapping[str, Any], spacing: Spacing) -> BoxResult:
    x1, y1, x2, y2 = (float(value) for value in found["box"])
    uncertainty: dict[str, float] = {}
    if "std" in found:
        uncertainty |= {"std_x_px": float(found["std"][0]), "std_y_px": float(found["std"][1])}
    if "score_std" in found:
        uncertainty["score_std"] = float(found["score_std"])
    return BoxResult(
        box=(x1, y1, x2, y2),
        class_name=str(found["class"]),
        probability=float(found["score"]),
        size_mm=None if spacing is None else (round((x2 - x1) * spacing[1], 3), round((y2 - y1) * spacing[0], 3)),
        threshold=(getattr(task, "thresholds", None) or {}).get(str(found["class"]), MIN_BOX_SCORE),
        uncertainty=uncertainty,
    )


def describe_class(task: Task, finding: Mapping[str, Any]) -> ClassResult:
    """Converts the finding of a classification.

    The optional keys `calibrated`, `thresholds` and `flagged` of a finding are passed on.
    """
    predicted = finding.get("classes", [finding["class"]] if "class" in finding else [])
    return ClassResult(
        kind=str(getattr(task, "kind", "")),
        probabilities={name: float(value) for name, value in finding["probs"].items()},
        predicted=tuple(name for name in predicted if name != NOT_APPLICABLE),
        applicable=bool(finding.get("applicable", True)),
        calibrated=bool(finding.get("calibrated", False)),
        thresholds=dict(finding.get("thresholds", {})),
        flagged=tuple(finding.get("flagged", ())),
        uncertainty=dict(finding.get(UNCERTAINTY, {})),
    )
