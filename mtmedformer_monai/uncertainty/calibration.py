"""Temperature scaling of a network's classifications, fitted on validation data and kept beside its weights.

One temperature per task divides the logits (Guo et al., ICML 2017, section 4.2). The negative log-likelihood is convex
in its inverse. An ordinal task scales its K - 1 cumulative logits, with the summed likelihood of its K - 1 events.
"""

# N cases, L logits, K classes

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scipy.optimize import minimize_scalar
from torch import Tensor

from mtmedformer_monai.io.atomic_files import write_atomically
from mtmedformer_monai.io.file_sha256 import file_sha256
from mtmedformer_monai.io.weights_files import CALIBRATION, check_companion, companion, find_companion
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.tasks.classification import ClassificationTask

from .operating_points import OperatingPoint, select_thresholds

FORMAT = "mtmedformer calibration 1"
MIN_CASES = 20
"""Minimum number of annotated cases from which a temperature is fitted."""

LIMITS = (0.05, 20.0)
"""Range of temperatures; its ends are reached by perfectly separated cases and by logits without information."""

MODES = ("auto", "required", "off")
DEFAULT_SENSITIVITY = 0.95


@dataclass(frozen=True)
class TaskCalibration:
    """Calibration of one task.

    Attributes:
        temperature: divisor of the logits; None if the task has no logits to calibrate, or too few cases.
        cases: number of annotated images in the validation data.
        nll_before: mean negative log-likelihood of the cases without the temperature (ordinal: mean over the events).
        nll_after: the same with the temperature.
        operating_points: thresholds for stated sensitivities.
    """

    temperature: float | None = None
    cases: int = 0
    nll_before: float | None = None
    nll_after: float | None = None
    operating_points: Sequence[OperatingPoint] = ()


@dataclass(frozen=True)
class Calibration:
    """Calibration of all tasks of one file of weights.

    Attributes:
        tasks: {task: its calibration}.
        weights_sha256: SHA-256 of the file of weights.
        images: number of images in the validation data.
    """

    tasks: Mapping[str, TaskCalibration] = field(default_factory=dict)
    weights_sha256: str = ""
    images: int = 0


def fit_temperature_scaling(task: ClassificationTask, logits: Tensor, target: Tensor) -> TaskCalibration:
    """Fits the temperature of one task.

    Args:
        task: the task, not calibrated.
        logits: (N, L).
        target: (N,) class indices or (N, K) labels; NaN where not annotated.

    Returns:
        The calibration without operating points; its temperature is None with fewer than `MIN_CASES` annotated cases,
        or if all of them have the same label.

    Raises:
        ValueError: a logit of an annotated case is not finite.
    """
    annotated = task.is_annotated(target)
    logits, target = logits[annotated].double(), target[annotated].double()
    if not bool(logits.isfinite().all()):
        bad = int((~logits.isfinite()).any(dim=1).sum())
        raise ValueError(
            f"{bad} of {len(logits)} images have outputs of the task {task.name!r} that are not finite; the weights or "
            "these images are damaged, so calibrate other weights or leave the images out."
        )
    cases = len(target)
    if cases < MIN_CASES or not _has_contrast(target):
        return TaskCalibration(None, cases)

    def nll(log_temperature: float) -> float:
        return float(task.scheme.loss(logits / math.exp(log_temperature), target))

    found = minimize_scalar(nll, bounds=tuple(map(math.log, LIMITS)), method="bounded", options={"xatol": 1e-5})
    return TaskCalibration(round(math.exp(float(found.x)), 6), cases, nll(0.0), float(found.fun))


def _has_contrast(target: Tensor) -> bool:
    """Whether at least two values occur (of some label, if there are several)."""
    columns = target.reshape(len(target), -1).T
    return any(len(column[~column.isnan()].unique()) > 1 for column in columns)


def calibration_path(weights: str | Path) -> Path:
    """Returns the path of the calibration, `calibration.json` for `model.pt`."""
    return companion(weights, CALIBRATION)


def save_calibration(calibration: Calibration, weights: str | Path) -> Path:
    """Writes `calibration.json` beside the weights, with their SHA-256, and returns its path."""
    path, weights = calibration_path(weights), Path(weights)
    content = {
        "format": FORMAT,
        "weights": {"file": weights.name, "sha256": file_sha256(weights)},
        "images": calibration.images,
        "tasks": {name: asdict(task) for name, task in calibration.tasks.items()},
    }
    write_atomically(path, lambda file: file.write(f"{json.dumps(content, indent=4)}\n".encode()))
    return path


def load_calibration(weights: str | Path) -> Calibration:
    """Reads the calibration beside the weights.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged, or belongs to other weights.
    """
    path = find_companion(weights, CALIBRATION)
    try:
        content = dict(json.loads(path.read_text(encoding="utf-8")))
        calibration = _parse(content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is not a calibration ({error}); delete it, or run mtmedformer calibrate.") from error
    check_companion(path, weights, calibration.weights_sha256, "--calibration")
    return calibration


def _parse(content: Mapping[str, Any]) -> Calibration:
    if content.get("format") != FORMAT:
        raise ValueError(f"its format is {content.get('format')!r} instead of {FORMAT!r}")
    tasks = {}
    for name, given in content["tasks"].items():
        points = tuple(OperatingPoint(**_with_tuples(point)) for point in given["operating_points"])
        tasks[name] = TaskCalibration(**{**given, "operating_points": points})
    return Calibration(tasks, str(content["weights"]["sha256"]), int(content["images"]))


def _with_tuples(point: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in point.items()}


def calibrated_tasks(
    tasks: Sequence[Task],
    weights: str | Path,
    calibration: str = "auto",
    sensitivity: float | None = DEFAULT_SENSITIVITY,
) -> list[Task]:
    """Returns the tasks with the calibration that belongs to the weights, for a config's postprocessing.

    A task whose condition (`applies_if`) refers to a class with an operating threshold uses this threshold as its
    probability, so that the two findings are consistent.

    Args:
        tasks: the network's tasks.
        weights: file of the network's weights, beside which the calibration lies.
        calibration: 'auto' uses a calibration if there is one; 'required' raises an error if there is none; 'off'
            returns the tasks unchanged.
        sensitivity: stated sensitivity whose operating points decide which classes and boxes are reported; None for
            the most probable class and the tasks' own score thresholds.

    Raises:
        ValueError: if the calibration belongs to other weights or tasks, or an argument is invalid.
        FileNotFoundError: if the calibration is required and missing.
    """
    if calibration not in MODES:
        raise ValueError(f"calibration expects one of {MODES}, got {calibration!r}.")
    missing = not calibration_path(weights).is_file() or not Path(weights).is_file()
    if calibration == "off" or (calibration == "auto" and missing):
        return list(tasks)
    return apply_calibration(tasks, load_calibration(weights), sensitivity)


def refuse_calibration(calibration: str) -> None:
    """Checks that no calibration is asked for where there is none: networks for studies are not calibrated.

    Raises:
        ValueError: if it is not 'off'.
    """
    if calibration != "off":
        raise ValueError(
            f"calibration expects 'off' for studies, got {calibration!r}: networks for studies are not calibrated; "
            "omit the option, or run inference.json alone for calibrated findings of single images."
        )


def apply_calibration(tasks: Sequence[Task], calibration: Calibration, sensitivity: float | None) -> list[Task]:
    """Returns the tasks with a calibration; see `calibrated_tasks`.

    Raises:
        ValueError: if it does not know the sensitivity, or has temperatures for other kinds of tasks.
    """
    done = []
    for task in tasks:
        fitted = calibration.tasks.get(task.name, TaskCalibration())
        thresholds = select_thresholds(fitted.operating_points, sensitivity) if sensitivity is not None else {}
        done.append(task.calibrate(fitted.temperature, thresholds) if fitted != TaskCalibration() else task)
    return [_with_consistent_condition(task, done) for task in done]


def _with_consistent_condition(task: Task, tasks: Sequence[Task]) -> Task:
    condition = getattr(task, "applies_if", None)
    if not isinstance(task, ClassificationTask) or not condition:
        return task
    other = next((each for each in tasks if each.name == condition["task"]), None)
    threshold = getattr(other, "thresholds", {}).get(condition["class"])
    if threshold is None or getattr(other, "kind", "") == "ordinal":  # an ordinal score isn't one class's probability
        return task
    changed = copy.copy(task)
    changed.applies_if = {**condition, "probability": threshold}
    return changed
