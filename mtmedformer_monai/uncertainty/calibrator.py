"""`Calibrator`: fits calibration, operating points and guard of trained weights."""

# N images

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mtmedformer_monai.io.atomic_files import load_checkpoint
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.tasks.classification import ClassificationTask
from mtmedformer_monai.tasks.detection import DetectionTask
from mtmedformer_monai.tasks.operating import class_scores

from .calibration import Calibration, TaskCalibration, fit_temperature_scaling, save_calibration
from .guard import Guard, fit_guard, save_guard, tap_encoder
from .operating_points import OperatingPoint, describe_points, fit_box_points, fit_class_points

SENSITIVITIES = (0.9, 0.95)
PrepareBatch = Callable[[Mapping[str, Any], torch.device], tuple[Tensor, dict[str, Tensor]]]

_logger = logging.getLogger(__name__)


class Calibrator:
    """Runs trained weights on training and validation images, and writes what it fits beside the weights.

    `calibration.json` contains temperatures and operating points from the validation images; `guard.pt` the
    distribution of the training images' features, and the limit from the validation images.

    Args:
        network: the network; its weights are replaced by those of the file.
        tasks: the network's tasks.
        weights: file of the weights.
        training: loader of training images, without augmentation; None for no guard.
        validation: loader of annotated validation images.
        prepare_batch: converts a batch to (image, {task: target}).
        sensitivities: stated sensitivities of the operating points.
        false_alarm_rate: stated share of good images that the guard flags.
        device: device of the network.
    """

    def __init__(
        self,
        network: nn.Module,
        tasks: Sequence[Task],
        weights: str | Path,
        training: Iterable[Mapping[str, Any]] | None,
        validation: Iterable[Mapping[str, Any]],
        prepare_batch: PrepareBatch,
        sensitivities: Sequence[float] = SENSITIVITIES,
        false_alarm_rate: float = 0.05,
        device: torch.device | str = "cpu",
    ) -> None:
        self.network = network
        self._tasks = list(tasks)
        self._weights = Path(weights)
        self._training = training
        self._validation = validation
        self._prepare_batch = prepare_batch
        self._sensitivities = list(sensitivities)
        self._false_alarm_rate = false_alarm_rate
        self._device = torch.device(device)

    def run(self) -> tuple[Calibration, Guard | None]:
        """Fits and writes both files, and logs what they contain.

        Raises:
            FileNotFoundError: if the weights do not exist.
            ValueError: if there are too few images for the false alarm rate.
        """
        self.network.load_state_dict(load_checkpoint(self._weights))
        self.network.to(self._device).eval()
        results, features = self._evaluate()
        calibration = Calibration(
            {task.name: self._fit(task, *results[task.name]) for task in self._tasks if task.name in results},
            images=len(features),
        )
        guard = None
        if self._training is not None:
            guard = fit_guard(self._features_of(self._training), features, self._false_alarm_rate)
            _logger.info(
                "Guard: limit %.3f from %d training and %d validation images: %s",
                guard.limit,
                guard.num_training,
                guard.num_validation,
                save_guard(guard, self._weights),
            )
        _log(calibration)
        _logger.info("Calibration: %s", save_calibration(calibration, self._weights))
        return calibration, guard

    def _fit(self, task: Task, outputs: Tensor, targets: Tensor) -> TaskCalibration:
        if isinstance(task, DetectionTask):
            points = detection_points(task, outputs, targets, self._sensitivities)
            return TaskCalibration(None, int(task.is_annotated(targets).sum()), operating_points=tuple(points))
        if not isinstance(task, ClassificationTask):
            return TaskCalibration()
        fitted = fit_temperature_scaling(task, outputs, targets)
        points = classification_points(task, fitted.temperature, outputs, targets, self._sensitivities)
        return replace(fitted, operating_points=tuple(points))

    @torch.no_grad()
    def _evaluate(self) -> tuple[dict[str, tuple[Tensor, Tensor]], Tensor]:
        """Returns {task: (raw outputs, targets)} of classes and boxes, and the features of all validation images."""
        gathered: dict[str, list[tuple[Tensor, Tensor]]] = {}
        with tap_encoder(self.network) as features:
            for batch in self._validation:
                image, targets = self._prepare_batch(batch, self._device)
                outputs = self.network(image)
                features.append(features.pop()[~is_blank(image)])
                for task in self._tasks:
                    if isinstance(task, (ClassificationTask, DetectionTask)) and task.name in targets:
                        pair = (outputs[task.name].float().cpu(), targets[task.name].cpu())
                        gathered.setdefault(task.name, []).append(pair)
        results = {
            name: (torch.cat([o for o, _ in pairs]), torch.cat([t for _, t in pairs]))
            for name, pairs in gathered.items()
        }
        return results, torch.cat(features).cpu()

    @torch.no_grad()
    def _features_of(self, batches: Iterable[Mapping[str, Any]]) -> Tensor:
        with tap_encoder(self.network) as features:
            for batch in batches:
                image, _ = self._prepare_batch(batch, self._device)
                self.network(image)
                features.append(features.pop()[~is_blank(image)])
        return torch.cat(features).cpu()


def is_blank(image: Tensor) -> Tensor:
    """Returns which images (B, 1, H, W) are black, bool (B,), such as the placeholders of unreadable files."""
    return image.as_subclass(Tensor).flatten(1).amax(dim=1) == 0


def classification_points(
    task: ClassificationTask, temperature: float | None, logits: Tensor, target: Tensor, sensitivities: Sequence[float]
) -> list[OperatingPoint]:
    """Fits the operating points of a classification, on calibrated probabilities.

    Args:
        task: the task.
        temperature: its temperature, or None.
        logits: (N, L).
        target: (N,) class indices or (N, K) labels; NaN where not annotated.
        sensitivities: stated sensitivities.
    """
    scores = class_scores(task.kind, task.calibrate(temperature, {}).activate(logits)).double().numpy()
    values = target.double().numpy()
    points = []
    for name in task.decided_classes():
        index = task.classes.index(name)
        column = values[:, index] if task.kind == "multilabel" else values
        known = ~np.isnan(column)
        positive = {"multilabel": column >= 0.5, "ordinal": column >= index}.get(task.kind, column == index)
        points += fit_class_points(name, scores[known, index], positive[known], sensitivities)
    return points


def detection_points(
    task: DetectionTask, outputs: Tensor, target: Tensor, sensitivities: Sequence[float]
) -> list[OperatingPoint]:
    """Fits the operating points of a detection, with the matching of its metric.

    Args:
        task: the task.
        outputs: rows (N, A, 7 + K).
        target: (N, M, 5).
        sensitivities: stated sensitivities.
    """
    metric = task.make_metric()
    metric.update(task.activate(outputs), target)
    rows, images = metric.matches()
    points = []
    for index, name in enumerate(task.classes):
        of_class = rows[rows[:, 0] == index]
        scores, matched = of_class[:, 1], of_class[:, 2] > 0
        points += fit_box_points(name, scores, matched, int(images[:, index].sum()), len(images), sensitivities)
    return points


def _log(calibration: Calibration) -> None:
    for name, task in calibration.tasks.items():
        if task.temperature is not None:
            _logger.info(
                "%s: temperature %.3f, NLL %.4f to %.4f in %d cases",
                name,
                task.temperature,
                task.nll_before,
                task.nll_after,
                task.cases,
            )
        elif not task.operating_points:
            _logger.info("%s: not calibrated, too few cases: %d", name, task.cases)
        for line in describe_points(task.operating_points):
            _logger.info("%s, %s", name, line)
