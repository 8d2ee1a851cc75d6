"""Completes the labels that images lack by a teacher's predictions, if they pass a gate.

Pseudo-labels are accepted if two networks agree on them, as in FedMix (Wicaksana et al., arXiv 2205.01840: masks with a
Dice of 0.9 or more between the networks' predictions), and if the predicting network is confident, as in FixMatch (Sohn
et al., NeurIPS 2020). What fails the gate stays missing, so that it contributes exactly nothing to the loss. Own labels
are never changed.

Units of a decision: for masks, a structure of an image for the agreement and a pixel for the confidence; for boxes, an
image, because a missing box would count as background; for classes, an image (multi-label: each label of it).
"""

# B batch, C structures, K classes, N boxes

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mtmedformer_monai.federated.teaching import Gate
from mtmedformer_monai.keys import BoxRow
from mtmedformer_monai.metrics.detection import Boxes
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.tasks.box_decoding import decode_boxes
from mtmedformer_monai.tasks.classification import ClassificationTask
from mtmedformer_monai.tasks.detection import DetectionTask
from mtmedformer_monai.tasks.segmentation import SegmentationTask

from .agreement import box_agreement, mask_agreement

Completed = tuple[Tensor, Tensor]
"""A task's completed target, (B, ...), and which parts of it are completed: bool (B, C) for masks, (B, K) for
multi-label classes, else (B,)."""


def completable(tasks: Sequence[Task]) -> list[Task]:
    """Returns the tasks whose labels can be completed.

    Self-supervised tasks lack none. A task restricted to the classes that a client knows (`class_union.py`) is left
    out, because the teacher's predictions may be of other classes.
    """
    return [task for task in tasks if isinstance(task, SegmentationTask | DetectionTask | ClassificationTask)]


def lacking(task: Task, target: Tensor) -> Tensor:
    """Returns which parts of a target (B, ...) are not annotated; for the shape see `Completed`."""
    missing = torch.isnan(target)
    if isinstance(task, SegmentationTask):
        return missing.flatten(2).all(dim=2)
    return missing.flatten(1).all(dim=1) if isinstance(task, DetectionTask) else missing


def spread(parts: Tensor, target: Tensor) -> Tensor:
    """Returns a statement about parts of a target, broadcastable to the target.

    Example:
        >>> spread(torch.zeros(2, 3), torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 3, 1, 1])
    """
    return parts.reshape((*parts.shape, *[1] * (target.ndim - parts.ndim)))


def complete_batch(
    tasks: Sequence[Task],
    targets: Mapping[str, Tensor],
    outputs: Mapping[str, Tensor],
    checks: Mapping[str, Sequence[Tensor]],
    image_size: tuple[int, int],
    gate: Gate,
    soft: bool = False,
) -> dict[str, Completed]:
    """Completes the targets of a batch.

    Args:
        tasks: the network's tasks.
        targets: {task: own target (B, ...)}.
        outputs: {task: raw output (B, ...) of its teacher}; a missing task is not completed.
        checks: {task: raw outputs of the two networks that must agree}; without an entry, there is no such gate.
        image_size: (H, W).
        gate: thresholds.
        soft: whether completed masks are probabilities.

    Returns:
        {task: completed target, completed parts} of the tasks with a teacher. A conditional finding
        (`applies_if`) is completed only in images in which the other task's class, own or completed, is present.
    """
    found: dict[str, Completed] = {}
    for task in completable(tasks):
        if task.name in outputs:
            activated = [task.activate(each) for each in (outputs[task.name], *checks.get(task.name, ()))]
            found[task.name] = _complete(task, targets[task.name], activated, image_size, gate, soft)
    known = {**targets, **{name: target for name, (target, _) in found.items()}}
    for task in tasks:
        condition = getattr(task, "applies_if", None)
        if condition and task.name in found:
            applies = _has_class(tasks, known, condition["task"], condition["class"])
            found[task.name] = _only_where(applies, targets[task.name], *found[task.name])
    return found


def _complete(
    task: Task,
    own: Tensor,
    activated: Sequence[Tensor],
    image_size: tuple[int, int],
    gate: Gate,
    soft: bool,
) -> Completed:
    if isinstance(task, SegmentationTask):
        predicted = _masks(task, activated[0], activated[1:], gate, soft)
    elif isinstance(task, DetectionTask):
        predicted = _boxes(task, activated[0], activated[1:], image_size, gate)
    elif isinstance(task, ClassificationTask):
        predicted = _classes(task, activated[0], activated[1:], gate)
    else:
        raise TypeError(f"task {task.name!r} expects masks, boxes or classes, got {type(task).__name__}.")
    predicted = predicted.to(own.dtype)
    completed = lacking(task, own) & ~lacking(task, predicted)
    return torch.where(spread(completed, own), predicted, own), completed


def _masks(task: SegmentationTask, probs: Tensor, checks: Sequence[Tensor], gate: Gate, soft: bool) -> Tensor:
    """Returns masks (B, C, H, W); NaN where a pixel is unsure, a structure has no sure pixel, or the checks differ."""
    mask = task.masks(probs)
    sure = torch.maximum(probs, 1.0 - probs) >= gate.min_probability
    accepted = (mask & sure).flatten(2).any(dim=2) | ~mask.flatten(2).any(dim=2)
    if checks:
        accepted &= mask_agreement(*(task.masks(each) for each in checks)) >= gate.agreement
    values = probs if soft else mask.to(probs.dtype)
    return torch.where(sure & accepted[..., None, None], values, torch.nan)


def _boxes(
    task: DetectionTask, output: Tensor, checks: Sequence[Tensor], image_size: tuple[int, int], gate: Gate
) -> Tensor:
    """Returns rows (B, N, 5); NaN in images with an ambiguous box, or whose checks differ."""

    def decode(rows: Tensor, min_score: float) -> Boxes:
        return _clip(decode_boxes(rows, min_score, task.nms_iou, task.max_boxes), image_size)

    targets = output.new_full((len(output), task.max_boxes, BoxRow.NUM_TARGET), torch.nan)
    for index, rows in enumerate(output):
        boxes, scores, classes = decode(rows, gate.min_score / 2)
        accepted = bool((scores >= gate.min_score).all())
        if accepted and checks:
            first, second = (decode(each[index], gate.min_score) for each in checks)
            accepted = box_agreement(first, second, gate.box_iou) >= gate.agreement
        if accepted:
            targets[index] = -1.0
            targets[index, : len(boxes)] = torch.cat([boxes, classes[:, None].to(boxes.dtype)], dim=1)
    return targets


def _clip(found: Boxes, image_size: tuple[int, int]) -> Boxes:
    """Clips boxes to the image, and drops those with a side shorter than a pixel."""
    limit = found.boxes.new_tensor([image_size[1], image_size[0]] * 2)
    boxes = torch.minimum(found.boxes.clamp(min=0.0), limit)
    keep = (boxes[:, 2:] - boxes[:, :2] >= 1.0).all(dim=1)
    return Boxes(boxes[keep], found.scores[keep], found.classes[keep])


def _classes(task: ClassificationTask, probs: Tensor, checks: Sequence[Tensor], gate: Gate) -> Tensor:
    """Returns class indices (B,), or indicators (B, K) of a multi-label task; NaN if unsure or if the checks differ."""
    if task.kind == "multilabel":
        chosen, sure = [each >= 0.5 for each in (probs, *checks)], torch.maximum(probs, 1.0 - probs)
    else:
        chosen, sure = [each.argmax(dim=1) for each in (probs, *checks)], probs.amax(dim=1)
    accepted = sure >= gate.min_probability
    if checks:
        accepted &= chosen[1] == chosen[2]
    return torch.where(accepted, chosen[0].to(probs.dtype), torch.nan)


def _has_class(tasks: Sequence[Task], targets: Mapping[str, Tensor], name: str, label: str) -> Tensor:
    """Returns which images have a class of a task according to its target, bool (B,)."""
    target, classes = targets[name], next(list(task.classes) for task in tasks if task.name == name)
    return target[:, classes.index(label)] == 1.0 if target.ndim == 2 else target == float(classes.index(label))


def _only_where(applies: Tensor, own: Tensor, target: Tensor, completed: Tensor) -> Completed:
    """Reverts completed parts of images to which the finding does not apply."""
    completed = completed & spread(applies, completed)
    return torch.where(spread(completed, own), target, own), completed
