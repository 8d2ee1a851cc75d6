"""What a strategy asks of a client whose images lack labels: teachers, and how their predictions are used.

A strategy's client rule returns one of these from `ClientRule.teaching`; `client/missing_labels.py` carries it out.
Teachers are stated by task, so a site with masks can be taught boxes by one network and classes by another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from mtmedformer_monai.uncertainty.sampling import draw_weights

EVERY_TASK: Final = "*"
"""Key of `Teachers` for the teacher of all tasks without one of their own."""

GROUP_MEAN: Final = "group_mean@"
"""Prefix of the broadcast's kinds of tensors: mean of the network that owns some tasks, `group_mean@lung+opacity`."""
GROUP_PRECISION: Final = "group_precision@"
"""Likewise, its precisions; a group without them has no posterior."""


@dataclass(frozen=True)
class Teacher:
    """A network that predicts labels, with what its predictions are checked against.

    Attributes:
        mean: {parameter or buffer: value}, the weights that predict.
        precision: {parameter: precision} of a Gaussian around the mean; empty if it is not known.
        previous: earlier weights of the same network; used as a check if there is no precision.
        temperature: of the Gaussian: checks are drawn from N(mean, temperature / precision).
    """

    mean: Mapping[str, Tensor]
    precision: Mapping[str, Tensor] | None = None
    previous: Mapping[str, Tensor] | None = None
    temperature: float = 1.0

    def checks(self, seed: int) -> list[Mapping[str, Tensor]]:
        """Returns two networks whose predictions must agree; none if nothing is known beside the mean.

        With a precision, these are two draws; with earlier weights, the mean and these.

        Args:
            seed: of the draws.
        """
        if self.precision:
            generator = torch.Generator().manual_seed(seed)
            precision = {name: value.float() for name, value in self.precision.items() if name in self.mean}
            draws = (draw_weights(self.mean, precision, self.temperature, generator) for _ in range(2))
            return [{**self.mean, **draw} for draw in draws]
        return [self.mean, self.previous] if self.previous else []


Teachers = Mapping[str, Teacher]
"""{task, or `EVERY_TASK`: its teacher}. A task without a teacher stays as the client annotated it."""


@dataclass(frozen=True)
class Gate:
    """Which predictions are accepted as labels.

    Attributes:
        min_probability: minimum probability of a pixel's or an image's predicted class, from 0.5 to 1.
        min_score: minimum score of a box, above 0. An image with a box whose score is between half of this and this is
            ambiguous and stays without label.
        agreement: minimum agreement of the two checks, from 0 to 1: Dice of masks, and the share of matched boxes;
            classes must be equal.
        box_iou: minimum intersection over union of matched boxes.
    """

    min_probability: float = 0.7
    min_score: float = 0.3
    agreement: float = 0.9
    box_iou: float = 0.5

    def __post_init__(self) -> None:
        """Validates the thresholds.

        Raises:
            ValueError: a threshold out of its range.
        """
        for name, low in (("min_probability", 0.5), ("min_score", 0.0), ("agreement", 0.0), ("box_iou", 0.0)):
            value = getattr(self, name)
            if not low <= value <= 1.0 or (name == "min_score" and value == 0.0):
                raise ValueError(f"{name} expects a number from {low:g} (min_score: above 0) to 1, got {value}.")


@dataclass(frozen=True)
class Completion:
    """Complete missing labels by predictions at the start of the round, and train on them like on own labels.

    Attributes:
        teachers: by task.
        gate: of the predictions.
        weight: of a completed label relative to an own one, above 0.
        soft: whether completed masks are probabilities instead of 0 and 1.
        seed: of the checks that are drawn.
        optional: whether a client whose data cannot be completed trains on its own labels alone, instead of an error.
    """

    teachers: Teachers
    gate: Gate = Gate()
    weight: float = 1.0
    soft: bool = False
    seed: int = 0
    optional: bool = False

    def __post_init__(self) -> None:
        """Validates the weight.

        Raises:
            ValueError: it is not above 0.
        """
        if not self.weight > 0.0:
            raise ValueError(f"completion_weight expects a number above 0, got {self.weight}; use `fedavg` instead.")


@dataclass(frozen=True)
class Distillation:
    """Pull the outputs of tasks without label towards the teachers' outputs in each training step.

    Attributes:
        teachers: by task.
        weight: of the distillation loss relative to the loss of own labels, above 0.
        temperature: that divides the logits of masks and classes, above 0.
        optional: whether a client whose data cannot be taught trains on its own labels alone, instead of an error.
    """

    teachers: Teachers
    weight: float = 1.0
    temperature: float = 1.0
    optional: bool = False


Teaching = Completion | Distillation


def teacher_of(teachers: Teachers, task: str) -> Teacher | None:
    """Returns the teacher of a task, or None.

    Example:
        >>> lung, other = Teacher({}), Teacher({})
        >>> teacher_of({"lung": lung, EVERY_TASK: other}, "box") is other, teacher_of({"lung": lung}, "box")
        (True, None)
    """
    return teachers.get(task, teachers.get(EVERY_TASK))


def teachers_of_groups(broadcast: Mapping[str, Tensor], temperature: float) -> Teachers:
    """Returns the teachers in a broadcast: of each group of clients, for the tasks that name it.

    The tensors are named `group_mean@<tasks>/<parameter>` and `group_precision@<tasks>/<parameter>`, with the group's
    tasks joined by `+`, or `*` for every task. A task of several groups is taught by the product of their Gaussians,
    or, without precisions, by the mean of their weights.

    Args:
        broadcast: from the server; other tensors are ignored.
        temperature: of the posteriors.
    """
    found: dict[str, list[Teacher]] = {}
    for group in sorted({_group(name) for name in broadcast if name.startswith(GROUP_MEAN)}):
        mean, precision = (_tensors(broadcast, f"{kind}{group}/") for kind in (GROUP_MEAN, GROUP_PRECISION))
        teacher = Teacher(mean, precision or None, temperature=temperature)
        for task in group.split("+"):
            found.setdefault(task, []).append(teacher)
    return {task: _product(teachers) for task, teachers in found.items()}


def _group(name: str) -> str:
    return name.removeprefix(GROUP_MEAN).partition("/")[0]


def _tensors(broadcast: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in broadcast.items() if name.startswith(prefix)}


def _product(teachers: list[Teacher]) -> Teacher:
    """Returns the product of several Gaussians; tensors without a precision are averaged."""
    if len(teachers) == 1:
        return teachers[0]
    mean, precision = {}, {}
    for name, value in teachers[0].mean.items():
        known = [each.precision[name].double() for each in teachers if each.precision and name in each.precision]
        has_all = len(known) == len(teachers)
        weights = known if has_all else [torch.ones((), dtype=torch.float64) for _ in teachers]
        total = torch.stack(weights).sum(dim=0)
        joint = sum(weight * each.mean[name].double() for weight, each in zip(weights, teachers, strict=True)) / total
        mean[name] = torch.as_tensor(joint).to(value.dtype)
        if has_all:
            precision[name] = total.float()
    return Teacher(mean, precision or None, temperature=teachers[0].temperature)
