"""Conditional findings, such as the type of a pneumonia, which is not applicable without pneumonia."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from .base import Task

NOT_APPLICABLE = "not applicable"
"""Reported instead of a class."""


def describe_tasks(tasks: Sequence[Task], probs: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns the findings of all tasks in one image, {task: findings as plain Python values}.

    The class of a task with the condition `applies_if={"task": name, "class": name, "probability": p}` is
    'not applicable' (for a multi-label task, there are no classes) if the probability of the other task's class is
    below p. The task's own probabilities are not changed; they are conditional on the task being applicable. The
    condition and the probability found are reported in both cases.

    Args:
        tasks: the network's tasks.
        probs: {task: activated output of one image}.

    Raises:
        ValueError: if a condition refers to an unknown task or class.
    """
    found = {task.name: task.describe(probs[task.name]) for task in tasks}
    for task in tasks:
        condition = getattr(task, "applies_if", None)
        if condition:
            found[task.name] = _apply(task.name, found, condition)
    return found


def check_condition(name: str, condition: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Validates a task's `applies_if`.

    Raises:
        ValueError: if its format is invalid.
    """
    if not condition:
        return None
    given = dict(condition)
    threshold = given.get("probability")
    if set(given) != {"task", "class", "probability"} or not isinstance(threshold, (int, float)):
        raise ValueError(
            f"task {name!r} expects applies_if={{'task': name, 'class': name, 'probability': 0..1}}, got {given}."
        )
    if not 0 <= threshold <= 1:
        raise ValueError(f"task {name!r} expects a probability of 0 to 1 in applies_if, got {threshold}.")
    return given


def _apply(name: str, found: Mapping[str, Any], condition: Mapping[str, Any]) -> dict[str, Any]:
    probs = found.get(condition["task"], {}).get("probs", {})
    if condition["class"] not in probs:
        known = {task: list(result["probs"]) for task, result in found.items() if "probs" in result}
        raise ValueError(
            f"task {name!r} applies if {condition['task']!r} is {condition['class']!r}, which is not in the tasks and "
            f"classes {known}; correct applies_if."
        )
    value = probs[condition["class"]]
    described = dict(found[name])
    if value < condition["probability"]:
        if "class" in described:
            described["class"] = NOT_APPLICABLE
        else:
            described["classes"] = []
    return described | {"applies_if": {**condition, "found": value}, "applicable": value >= condition["probability"]}
