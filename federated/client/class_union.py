"""Sites that know different classes train one network: its classes are the union of theirs.

The federation's tasks list the union, in one config for all. A site says by name what it knows of a task
(`known_classes` in federated.json); what it doesn't know neither adds to its loss nor gets a gradient from it:

- masks: a structure that an item lacks is a NaN channel already; nothing has to be said.
- boxes: the focal loss of classes that the site doesn't annotate is left out. A site whose boxes are of an unknown
  class has to leave them out, too.
- multi-label classes: unknown labels count as not annotated.
- classes that exclude one another: the loss is that of the class given that it is one of the known ones: the
  probability of each is divided by that of all known. A site that calls only normal and benign says nothing about
  how many are malignant elsewhere, and doesn't push that class down. A site that knows one class alone learns nothing:
  the task counts as not annotated there.

Knowing a class is a matter of what the site looks for, not of what it has found: a site that looks for pneumonia, and
has seen none, knows it.

Unknown classes share tensors with known ones (rows of the last layer). A client sends whole tensors: in averages
these rows come back as they were broadcast, but for weight decay, and slow the others' steps down; the fixed point
stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mtmedformer_monai.tasks.base import Task


def restrict_tasks(tasks: Sequence[Task], known: Mapping[str, Sequence[str]]) -> list[Task]:
    """A site's tasks, for its loss: those of which it knows only some classes are restricted to them.

    Args:
        tasks: of the federation.
        known: {task: classes that the site knows}; a task that is left out is known whole.

    Raises:
        ValueError: no such task or class, or a task that has no classes to know.
    """
    unknown = sorted(set(known) - {task.name for task in tasks})
    if unknown:
        raise ValueError(f"known_classes expects tasks out of {[task.name for task in tasks]}, got {unknown}.")
    return [_restrict(task, known.get(task.name)) for task in tasks]


def _restrict(task: Task, known: Sequence[str] | None) -> Task:
    if known is None or set(known) == set(task.classes):
        return task
    if task.classes and (not known or not set(known) <= set(task.classes)):
        raise ValueError(
            f"known_classes of {task.name!r} expects one or more of {list(task.classes)}, got {list(known)}."
        )
    return task.restrict(known)
