"""Findings that presuppose another: the type of a pneumonia where there is none is not applicable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from .base import Task

NOT_APPLICABLE = "not applicable"
"""Stands in the place of a class."""


def describe_tasks(tasks: Sequence[Task], probs: Mapping[str, Tensor]) -> dict[str, Any]:
    """Describes one image by all tasks: {task: plain Python findings}.

    A task that declares `applies_if={"task": name, "class": name, "probability": p}` is given the class
    'not applicable' (no classes, if multi-label) where the other task's probability is below p; its own probabilities
    stay, as those that hold if it did apply. Condition and probability are written beside them in either case.

    Args:
        tasks: the network's tasks.
        probs: {task: activated output of one image}.

    Raises:
        ValueError: a condition names a task or class that is not there.
    """
    found = {task.name: task.describe(probs[task.name]) for task in tasks}
    for task in tasks:
        condition = getattr(task, "applies_if", None)
        if condition:
            found[task.name] = _apply(task.name, found, condition)
    return found


def check_condition(name: str, condition: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Checks the form of a task's `applies_if`.

    Raises:
        ValueError: names the task and what was expected.
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
            f"task {name!r} applies if {condition['task']!r} is {condition['class']!r}, which is none of the tasks and "
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
