"""Training one network at clients that know different classes: the network's classes are their union.

The tasks of the federation list the union, in one config for all clients. A client names the classes that it knows
(`known_classes` in federated.json). Unknown classes neither contribute to its loss nor receive gradients from it:

- masks: a structure that an image lacks is already a NaN channel, so nothing has to be set.
- boxes: the focal loss of classes that the client does not annotate is left out. Boxes of unknown classes must be left
  out of its datalist, too.
- multi-label classes: unknown labels count as not annotated.
- mutually exclusive classes: the loss conditions on the known classes, so the probability of each is divided by the
  total probability of the known classes. A client that distinguishes only normal and benign thus does not lower the
  probability of malignant. With a single known class, nothing can be learned, and the task counts as not annotated.

A class is known if the client looks for it, even if it has found no case: a client that looks for pneumonia and has
seen none knows it.

Unknown and known classes share tensors, as rows of the last layer. Rows that get no gradient at a client count as not
learned there (`LocalTraining.unlearned`): in averages they have no images behind them, in posteriors no precision, so
that many images of a client without a class do not outweigh the few of one that has it. Control variates and linear
terms (`scaffold`, `feddyn`) count the whole tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mtmedformer_monai.losses.hybrid import HybridLoss
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.tasks.known_classes import KnownClasses


def restrict_tasks(tasks: Sequence[Task], known: Mapping[str, Sequence[str]]) -> list[Task]:
    """Returns a client's tasks for its loss, restricted to the classes that it knows.

    Args:
        tasks: of the federation.
        known: {task: classes that the client knows}; a missing task is fully known.

    Raises:
        ValueError: an unknown task or class, or a task without classes.
    """
    unknown = sorted(set(known) - {task.name for task in tasks})
    if unknown:
        raise ValueError(f"known_classes expects tasks out of {[task.name for task in tasks]}, got {unknown}.")
    return [_restrict(task, known.get(task.name)) for task in tasks]


def restricted_tasks(loss: Any) -> frozenset[str]:
    """Returns the names of the tasks in a loss of which the client knows only some classes."""
    tasks = loss.tasks if isinstance(loss, HybridLoss) else []
    return frozenset(task.name for task in tasks if isinstance(task, KnownClasses))


def _restrict(task: Task, known: Sequence[str] | None) -> Task:
    if known is None or set(known) == set(task.classes):
        return task
    if task.classes and (not known or not set(known) <= set(task.classes)):
        raise ValueError(
            f"known_classes of {task.name!r} expects one or more of {list(task.classes)}, got {list(known)}."
        )
    return task.restrict(known)
