"""Messages of partitioned variational inference, beyond those of all strategies: groups and settings."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import torch
from torch import Tensor

from mtmedformer_monai.federated.message import Message, TensorKind, key, pick, without

DAMPING: Final = key(TensorKind.SETTING, "damping")
"""Broadcast: factor of the clients' rates, below 1 after divergence."""

PRIOR_NUMBER: Final = key(TensorKind.SETTING, "prior_number")
"""Broadcast and sent: how often the prior has changed; factors that refer to an earlier one have ended."""


def prior_number_of(message: Mapping[str, Tensor]) -> int | None:
    """Returns the number of the prior to which a message refers; None if it states none.

    Raises:
        ValueError: it is not a whole number.
    """
    value = message.get(PRIOR_NUMBER)
    if value is None:
        return None
    number = float(value) if value.numel() == 1 else math.nan
    if not number.is_integer():
        raise ValueError(f"{PRIOR_NUMBER!r} expects one whole number, got {value.tolist()}.")
    return int(number)


def group_tags(tasks: Iterable[str]) -> Message:
    """Returns the tensors that name a client's group.

    Example:
        >>> group_tags(["lung"])
        {'group/lung': tensor(1.)}
    """
    return {key(TensorKind.GROUP, task): torch.tensor(1.0) for task in tasks}


def tasks_with_images(images_by_task: Mapping[str, int]) -> list[str]:
    """Returns the sorted names of the tasks for which a client has labels.

    Example:
        >>> tasks_with_images({"opacity": 3, "lung": 7, "finding": 0})
        ['lung', 'opacity']
    """
    return sorted(task for task, count in images_by_task.items() if count > 0)


def group_name(tasks: Collection[str]) -> str:
    """Returns the name of the group of clients that train these tasks.

    Example:
        >>> group_name({"opacity", "lung"})
        'lung+opacity'
    """
    return "+".join(sorted(tasks))


def split_group(message: Mapping[str, Tensor]) -> tuple[str, Message]:
    """Returns the name of the sender's group, and the message without its tags.

    Raises:
        ValueError: a tag that is not the name of a task. Groups name files.
    """
    tags = pick(message, TensorKind.GROUP)
    bad = next((task for task in tags if not task.isidentifier()), None)
    if bad is not None:
        raise ValueError(f"a group expects names of tasks, got {bad!r}; task names are identifiers.")
    return group_name(tags), without(message, TensorKind.GROUP)
