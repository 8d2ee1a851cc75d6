"""Average precision and FROC score of detections, per class."""

# B batch, A anchor points, K classes, N boxes, D detections, T overlap thresholds

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from monai.apps.detection.metrics.matching import matching_batch
from monai.data.box_utils import box_iou
from numpy.typing import NDArray
from torch import Tensor

from mtmedformer_monai.keys import BoxRow

from .detection_curves import average_precision, froc_score
from .gather import gather_rows


class Boxes(NamedTuple):
    """Boxes of one image, in descending order of scores.

    `boxes`: float (N, 4), x1, y1, x2, y2 in pixels of the current image. `scores`: float (N,) in [0, 1].
    `classes`: int (N,).
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor


Decode = Callable[[Tensor], Boxes]
"""Converts the activated output of one image to boxes in descending order of scores."""


class DetectionMetric:
    """Average precision (`ap`) and free-response sensitivity (`froc`) of detections.

    In each image, detections are matched in descending order of scores to the ground-truth box of the same class with
    the largest overlap that is not matched yet, provided that the overlap is at least `iou_threshold` (MONAI's COCO
    matching). Over all images, per class, `ap` is the area under the interpolated precision-recall curve and `froc` the
    mean sensitivity at 1/4 to 8 false positives per image. `ap` and `froc` are means over the classes that have a
    ground-truth box and, if several thresholds are given, over thresholds; `ap_0.5` refers to one threshold and
    `ap_mass` to one class.

    Images that are not annotated are ignored. On annotated images without a box, every detection is a false positive.
    `cases` is the number of ground-truth boxes.

    Args:
        classes: names of the classes.
        decode: converts an image's activated output to boxes, with score threshold and non-maximum suppression.
        iou_threshold: intersection over union, or several of them, at which a detection is a true positive. The default
            is lower than common for natural images because opacities have no sharp boundaries.
        max_boxes: maximum number of detections per image; at least as many as `decode` returns.
    """

    def __init__(
        self,
        classes: Sequence[str],
        decode: Decode,
        iou_threshold: float | Sequence[float] = 0.3,
        max_boxes: int = 100,
    ) -> None:
        self._classes = tuple(classes)
        self._ious = (iou_threshold,) if isinstance(iou_threshold, int | float) else tuple(iou_threshold)
        self._decode = decode
        self._max_boxes = max_boxes
        self.reset()

    def reset(self) -> None:
        """Resets the accumulated state."""
        self._detections: list[Tensor] = []  # (D, 2 + T): class, score, hit at each threshold
        self._images: list[Tensor] = []  # (images, K): ground-truth boxes

    def update(self, probs: Tensor, target: Tensor) -> None:
        """Adds one batch.

        Args:
            probs: float (B, ...), activated outputs, each of which `decode` reads.
            target: float (B, N, 5), rows x1, y1, x2, y2, class; unused rows are -1; all NaN if not annotated.
        """
        if target.ndim != 3 or target.shape[2] != BoxRow.NUM_TARGET:
            raise ValueError(
                f"target expects (B, N, 5), rows x1, y1, x2, y2, class, got {tuple(target.shape)}; "
                "encode boxes with LoadTargetsd."
            )
        annotated = ~torch.isnan(target).flatten(1).all(dim=1)
        for output, rows in zip(probs[annotated], target[annotated], strict=True):
            self._add_image(output.cpu(), rows[rows[:, BoxRow.CLASS] >= 0].cpu())

    def compute(self) -> dict[str, float]:
        """Returns the metrics; NaN if no annotated image has a ground-truth box."""
        detections, images = self.matches()
        metrics: dict[tuple[str, float, str], float] = {}
        for k, name in enumerate(self._classes):
            of_class = detections[detections[:, 0] == k]
            num_targets = int(images[:, k].sum())
            for t, iou in enumerate(self._ious):
                scores, hits = of_class[:, 1], of_class[:, 2 + t] > 0
                metrics["ap", iou, name] = average_precision(scores, hits, num_targets)
                metrics["froc", iou, name] = froc_score(scores, hits, num_targets, len(images))
        return self._summarize(metrics) | {"cases": float(images.sum())}

    def matches(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns what the metrics are computed from.

        Returns:
            Rows (D, 2 + T) of class index, score and whether the detection is matched at each overlap threshold, and
            the numbers of ground-truth boxes (images, K).
        """
        detections = gather_rows(self._detections, 2 + len(self._ious)).numpy()
        return detections, gather_rows(self._images, len(self._classes)).numpy()

    def _add_image(self, output: Tensor, rows: Tensor) -> None:
        """Matches the detections of one image to its ground-truth boxes, rows (N, 5)."""
        found = self._decode(output)
        true_classes = rows[:, BoxRow.CLASS].long()
        self._images.append(torch.bincount(true_classes, minlength=len(self._classes))[None].double())
        arguments = [found.boxes, found.classes, found.scores, rows[:, BoxRow.BOX].float(), true_classes]
        matches = matching_batch(box_iou, self._ious, *([a.numpy()] for a in arguments), max_detections=self._max_boxes)
        for k, match in matches[0].items():
            scores, hits = match["dtScores"], match["dtMatches"].reshape(len(self._ious), -1)
            columns = np.vstack([np.full(len(scores), k), scores, hits])
            self._detections.append(torch.from_numpy(columns.T).double())

    def _summarize(self, metrics: dict[tuple[str, float, str], float]) -> dict[str, float]:
        summary: dict[str, float] = {}
        for kind in ("ap", "froc"):
            of_kind = {(iou, name): value for (k, iou, name), value in metrics.items() if k == kind}
            summary[kind] = _nanmean(list(of_kind.values()))
            if len(self._ious) > 1:
                summary |= {
                    f"{kind}_{i:g}": _nanmean([v for (j, _), v in of_kind.items() if j == i]) for i in self._ious
                }
            if len(self._classes) > 1:
                summary |= {
                    f"{kind}_{c}": _nanmean([v for (_, d), v in of_kind.items() if d == c]) for c in self._classes
                }
        return summary


def _nanmean(values: Sequence[float]) -> float:
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else float("nan")
