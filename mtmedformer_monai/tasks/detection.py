"""Anchor-free detection with a focal loss for soft center maps and a generalized IoU loss for boxes.

Axes: B batch, A points, N annotated boxes, K classes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtmedformer_monai.keys import BOXES, BoxRow
from mtmedformer_monai.metrics.detection import Boxes, DetectionMetric

from .base import Task
from .box_decoding import MIN_SCORE, decode_boxes
from .detection_head import DetectionDecoder
from .known_classes import KnownClasses, check_known
from .operating import check_thresholds
from .partial import annotated_mean, keep_annotated
from .sample_average import combine_sigmoids

SIGMA = 0.16
"""Standard deviation of the Gaussians of the center map, as a fraction of the box sides."""

POSITIVE = 0.3
"""Minimum height of the Gaussian at points that contribute to the box loss."""

REACH = 8.0
"""Maximum box side assigned to a stride, in strides; longer boxes are assigned to the coarsest stride."""


class DetectionTask(Task):
    """Detects boxes of several classes.

    A target has N rows (N, 5) of x1, y1, x2, y2, class; unused rows are -1; all values are NaN if not annotated.

    Args:
        name: task name.
        classes: K class names, the keys of a datalist item's `boxes`.
        weight: fixed weight of the loss.
        levels: consecutive indices of the encoder maps to use, finest first.
        max_boxes: maximum number of boxes N.
        score_threshold: minimum score of reported boxes.
        nms_iou: intersection over union above which the lower-scoring of two boxes of a class is removed.
        box_weight: weight of the IoU loss relative to the focal loss.
        match_iou: minimum intersection over union of a true positive, in the metrics.

    Attributes:
        thresholds: {class: minimum score of reported boxes} that `calibrate` sets; empty to use `score_threshold`.
    """

    primary_metric = "ap"
    has_boxes = True

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        weight: float = 1.0,
        levels: Sequence[int] = (1, 2, 3),
        max_boxes: int = 16,
        score_threshold: float = 0.05,
        nms_iou: float = 0.3,
        box_weight: float = 1.0,
        match_iou: float = 0.3,
    ) -> None:
        super().__init__(name, weight)
        if not classes or len(set(classes)) != len(classes):
            raise ValueError(f"task {name!r} expects one or more classes with different names, got {classes}.")
        self.classes = list(classes)
        self.levels = list(levels)
        if not self.levels or self.levels != list(range(self.levels[0], self.levels[0] + len(self.levels))):
            raise ValueError(f"task {name!r} expects consecutive levels, such as [1, 2, 3], got {levels}.")
        self.pyramid_levels = tuple(levels)
        self.max_boxes = max_boxes
        self.score_threshold = score_threshold
        self.nms_iou = nms_iou
        self.box_weight = box_weight
        self.match_iou = match_iou
        self.thresholds: dict[str, float] = {}

    def calibrate(self, temperature: float | None, thresholds: Mapping[str, float]) -> Task:
        """Returns a copy that reports boxes by the thresholds; scores are not calibrated.

        Raises:
            ValueError: if a threshold is invalid, or a temperature is given.
        """
        if temperature is not None:
            raise ValueError(f"task {self.name!r} detects boxes and expects no temperature, got {temperature}.")
        task = copy.copy(self)
        task.thresholds = check_thresholds(self.name, thresholds, self.classes)
        return task

    def make_decoder(self, channels: Sequence[int], strides: Sequence[int], width: int) -> nn.Module:
        """Builds a `DetectionDecoder`."""
        if self.levels[0] < 0 or self.levels[-1] >= len(strides):
            raise ValueError(f"task {self.name!r} expects levels in 0..{len(strides) - 1}, got {self.levels}.")
        return DetectionDecoder(width, len(self.classes), strides, self.levels)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Returns the focal loss of the center map plus the generalized IoU loss of boxes near a center.

        Both are sums over the points of an image, divided by the summed heights of its positive points (at least 1).

        Args:
            output: rows (B, A, 7 + K).
            target: (B, N, 5).

        Returns:
            Scalar, a mean over annotated images; exactly 0 if there are none.
        """
        annotated = self.is_annotated(target)
        points = output[0, :, BoxRow.POINT].float()
        output = keep_annotated(output, annotated[:, None, None])
        boxes = torch.where(annotated[:, None, None], target.float(), -1.0)
        heat, nearest = center_map(points, boxes, len(self.classes)).max(dim=3)
        strength, chosen = heat.max(dim=2)
        strength = torch.where(strength >= POSITIVE, strength, 0.0)
        weight = strength.sum(dim=1).clamp(min=1.0)
        matched = boxes[..., BoxRow.BOX].gather(1, nearest.gather(2, chosen[..., None]).expand(-1, -1, 4))
        focal = soft_focal(output[..., BoxRow.LOGITS], heat).sum(dim=2).sum(dim=1)
        regression = ((1.0 - generalized_iou(output[..., BoxRow.BOX], matched)) * strength).sum(dim=1)
        return annotated_mean((focal + self.box_weight * regression) / weight, annotated)

    def activate(self, output: Tensor) -> Tensor:
        """Converts class logits to scores in rows (..., A, 7 + K); boxes and points are unchanged."""
        output = output.float()
        return torch.cat([output[..., : BoxRow.LOGITS.start], output[..., BoxRow.LOGITS].sigmoid()], dim=-1)

    def make_metric(self) -> DetectionMetric:
        """Builds the metric: average precision and FROC score."""
        return DetectionMetric(self.classes, self._decode, iou_threshold=self.match_iou, max_boxes=self.max_boxes)

    def encode_target(self, item: Mapping[str, Any], image_size: tuple[int, int]) -> Tensor:
        """Encodes the boxes of all classes as rows (N, 5).

        Raises:
            ValueError: if only some of the classes are annotated, a box has no area, or there are too many boxes.
        """
        by_class = item.get(BOXES) or {}
        given = [name for name in self.classes if by_class.get(name) is not None]
        if not given:
            return torch.full((self.max_boxes, BoxRow.NUM_TARGET), torch.nan)
        if given != self.classes:
            raise ValueError(
                f"task {self.name!r} expects boxes of all of {self.classes} or none, got {given}; use an empty list if "
                "no box is present, or define one task for each set of classes that are annotated together."
            )
        rows = [[*self._check(box), index] for index, name in enumerate(self.classes) for box in by_class[name]]
        if len(rows) > self.max_boxes:
            raise ValueError(
                f"task {self.name!r} expects at most {self.max_boxes} boxes, got {len(rows)}; increase max_boxes."
            )
        target = torch.full((self.max_boxes, BoxRow.NUM_TARGET), -1.0)
        if rows:
            target[: len(rows)] = torch.tensor(rows, dtype=torch.float32)
        return target

    def _check(self, box: Sequence[float]) -> Sequence[float]:
        if len(box) != 4 or not all(map(math.isfinite, box)) or not (box[0] < box[2] and box[1] < box[3]):
            raise ValueError(
                f"task {self.name!r} expects finite boxes [x1, y1, x2, y2] with x1 < x2 and y1 < y2, got {box}."
            )
        return box

    def describe(self, output: Tensor) -> dict[str, Any]:
        """Returns {'boxes': [{'box': [x1, y1, x2, y2], 'score': 0..1, 'class': name}, ...]}, best first.

        If the task has operating thresholds, they decide what is reported and are added as `thresholds`.
        """
        lowest = [self.thresholds.get(name, self.score_threshold) for name in self.classes]
        # before the limit on their number, so that boxes that are not reported displace none of another class
        boxes, scores, classes = self._decode(output, torch.tensor(lowest, dtype=torch.float64, device=output.device))
        found = [
            {"box": [round(v, 2) for v in box], "score": round(score, 6), "class": self.classes[int(index)]}
            for box, score, index in zip(boxes.tolist(), scores.tolist(), classes.tolist(), strict=True)
        ]
        return {"boxes": found, **({"thresholds": dict(self.thresholds)} if self.thresholds else {})}

    def describe_target(self, target: Tensor) -> dict[str, Any]:
        """Returns {'boxes': [{'box': [x1, y1, x2, y2], 'class': name}, ...]}."""
        if bool(torch.isnan(target).all()):
            return {}
        rows = target[target[:, BoxRow.CLASS] >= 0].tolist()
        return {"boxes": [{"box": row[BoxRow.BOX], "class": self.classes[int(row[BoxRow.CLASS])]} for row in rows]}

    def combine_samples(self, samples: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Combines samples; measures: `entropy`, `mutual_information`, `std` of scores (B, A, K); `box_std` (B, A, 4).

        `point` (B, A, 3) holds the points of the rows, by which a row is found again after others have been dropped.
        Boxes and their standard deviations in pixels are weighted by the highest class score of each sample, so a
        sample without a detection at a point hardly influences the box.
        """
        joint = samples[0].clone()
        joint[..., BoxRow.LOGITS], measures = combine_sigmoids(samples[..., BoxRow.LOGITS])
        weights = samples[..., BoxRow.LOGITS].sigmoid().amax(dim=-1, keepdim=True).clamp(min=1e-12)
        shares, boxes = weights / weights.sum(dim=0), samples[..., BoxRow.BOX]
        joint[..., BoxRow.BOX] = boxes[0] + (shares * (boxes - boxes[0])).sum(dim=0)
        measures["box_std"] = (shares * (boxes - joint[..., BoxRow.BOX]) ** 2).sum(dim=0).sqrt()
        measures["point"] = joint[..., BoxRow.POINT].clone()
        return joint, measures

    def describe_uncertainty(
        self, finding: dict[str, Any], output: Tensor, measures: Mapping[str, Tensor], to_source: Tensor
    ) -> dict[str, Any]:
        """Adds `std` of the edges in x and in y, in source pixels, and `score_std` to each box.

        Each reported box is found in the output (A', 7 + K), which lacks the rows outside the source, by its rounded
        values, and in the measures, which have all A rows, by its point.
        """
        boxes = []
        for box in finding["boxes"]:
            index = self.classes.index(box["class"])
            distance = (output[:, BoxRow.BOX].double() - torch.tensor(box["box"], dtype=torch.float64)).abs().sum(dim=1)
            distance += (output[:, BoxRow.LOGITS][:, index].double() - box["score"]).abs()
            row = output[int(distance.argmin()), BoxRow.POINT]
            point = int((measures["point"] - row).abs().sum(dim=1).argmin())
            edges = measures["box_std"][point].double().square().reshape(2, 2).mean(dim=0)  # x of both edges, y of both
            spread = [round(value, 2) for value in (to_source.square() @ edges).sqrt().tolist()]
            boxes.append(box | {"std": spread, "score_std": round(float(measures["std"][point, index]), 6)})
        return finding | {"boxes": boxes}

    def restrict(self, known: Sequence[str]) -> Task:
        """Returns the task without the focal loss of classes that the client does not annotate."""
        indices = [index for index, name in enumerate(self.classes) if name in known]
        return KnownClasses(self, indices, _loss_of_known, lambda task, target, _: task.is_annotated(target))

    def _decode(self, output: Tensor, score_threshold: float | Tensor = MIN_SCORE) -> Boxes:
        return decode_boxes(output, score_threshold, self.nms_iou, self.max_boxes)


def _loss_of_known(task: DetectionTask, output: Tensor, target: Tensor, known: Sequence[int]) -> Tensor:
    """Returns the loss of a detector with only the known classes; boxes (B, N, 5) of other classes are an error."""
    label = target[..., BoxRow.CLASS]
    check_known(task, label[label >= 0], known)
    keep = [*range(BoxRow.LOGITS.start), *(BoxRow.LOGITS.start + index for index in known)]
    moved = label.clone()
    for place, index in enumerate(known):
        moved = torch.where(label == index, float(place), moved)
    alone = DetectionTask(task.name, [task.classes[index] for index in known], box_weight=task.box_weight)
    return alone.loss(output[..., keep], torch.cat([target[..., BoxRow.BOX], moved[..., None]], dim=-1))


def center_map(points: Tensor, boxes: Tensor, num_classes: int) -> Tensor:
    """Returns the height of each box's Gaussian at the points of the stride that the box is assigned to.

    Args:
        points: (A, 3) of x, y, stride.
        boxes: (B, N, 5); rows of class -1 are unused.
        num_classes: number of classes K.

    Returns:
        (B, A, K, N) in [0, 1]; exactly 1 at the point nearest to a center.
    """
    x, y, stride = points[:, 0, None], points[:, 1, None], points[:, 2, None]
    x1, y1, x2, y2, label = (boxes[:, None, :, column] for column in range(5))
    sides = torch.maximum(x2 - x1, y2 - y1)
    finest, coarsest = points[:, 2].min(), points[:, 2].max()
    upper = torch.where(stride == coarsest, torch.inf, REACH * stride)
    lower = torch.where(stride == finest, 0.0, REACH * stride / 2)
    mine = (sides > lower) & (sides <= upper) & (label >= 0)
    offset_x = (x - (x1 + x2) / 2) / (SIGMA * (x2 - x1)).clamp(min=1e-3)
    offset_y = (y - (y1 + y2) / 2) / (SIGMA * (y2 - y1)).clamp(min=1e-3)
    distance = torch.where(mine, offset_x**2 + offset_y**2, torch.inf)
    height = torch.exp(-0.5 * distance)
    height = torch.where(mine & (distance == distance.amin(dim=1, keepdim=True)), 1.0, height)
    one_hot = label.unsqueeze(2) == torch.arange(num_classes, device=boxes.device)[:, None]
    return height.unsqueeze(2) * one_hot


def soft_focal(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Returns the elementwise quality focal loss |y - p|^gamma * BCE(p, y) (Li et al., NeurIPS 2020, eq. 2)."""
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (target - logits.sigmoid()).abs() ** gamma * losses


def generalized_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Returns the generalized IoU of pairs of xyxy boxes (..., 4), (...) in [-1, 1] (Rezatofighi et al., CVPR 2019).

    Agrees with `monai.data.box_utils.box_pair_giou`, which raises on NaN: the rows of images without annotation are NaN
    here, and the loss ignores them. There is no synchronization with the device either.
    """
    low = torch.maximum(boxes[..., :2], others[..., :2])
    high = torch.minimum(boxes[..., 2:], others[..., 2:])
    overlap = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(b[..., 2:] - b[..., :2]).clamp(min=0).prod(dim=-1) for b in (boxes, others)]
    union = (areas[0] + areas[1] - overlap).clamp(min=1e-6)
    hull_low = torch.minimum(boxes[..., :2], others[..., :2])
    hull_high = torch.maximum(boxes[..., 2:], others[..., 2:])
    hull = (hull_high - hull_low).clamp(min=0).prod(dim=-1).clamp(min=1e-6)
    return overlap / union - (hull - union) / hull
