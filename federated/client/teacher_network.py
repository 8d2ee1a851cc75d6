"""Runs teachers: the client's network with other weights, in evaluation mode."""

# B batch

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mtmedformer_monai.engines.checkpointing.training_state import bare
from mtmedformer_monai.federated.teaching import Teacher, Teachers, teacher_of
from mtmedformer_monai.networks.mtmedformer import MTMedFormer
from mtmedformer_monai.tasks.base import Task

Predictions = tuple[dict[str, Tensor], dict[str, list[Tensor]]]
"""{task: raw output of its teacher}, {task: raw outputs of the networks that must agree}."""


@dataclass
class _Expert:
    """One teacher's network, with the decoders of the tasks that it teaches alone."""

    network: nn.Module
    tasks: list[str]
    mean: Mapping[str, Tensor]
    checks: Sequence[Mapping[str, Tensor]]
    loaded: Mapping[str, Tensor] | None = None

    def run(self, weights: Mapping[str, Tensor], image: Tensor, inferer: Any) -> dict[str, Tensor]:
        """Returns {task: raw output} with some weights, which remain loaded."""
        if self.loaded is not weights:
            self.network.load_state_dict(dict(weights), strict=False)
            self.loaded = weights
        outputs = inferer(image, self.network)
        return {name: outputs[name] for name in self.tasks}


class TeacherNetwork:
    """Predicts with the teachers of one round; the trained network is not touched.

    Memory: a copy of the network per teacher, and the weights of the teachers and their checks.

    Args:
        trainer: SupervisedTrainer of the client, whose network and inferer are used.
        teachers: by task.
        tasks: to predict.
        seed: of checks that are drawn; None: no checks.
    """

    def __init__(self, trainer: Any, teachers: Teachers, tasks: Sequence[Task], seed: int | None = None) -> None:
        self._inferer = trainer.inferer
        by_teacher: dict[int, tuple[Teacher, list[str]]] = {}
        for task in tasks:
            teacher = teacher_of(teachers, task.name)
            if teacher is not None:
                by_teacher.setdefault(id(teacher), (teacher, []))[1].append(task.name)
        network = bare(trainer.network)
        self._experts = [
            _Expert(_copy_for(network, names), names, teacher.mean, [] if seed is None else teacher.checks(seed))
            for teacher, names in by_teacher.values()
        ]

    def outputs(self, image: Tensor) -> dict[str, Tensor]:
        """Returns {task: raw output (B, ...) of its teacher}."""
        return self.predict(image, check=False)[0]

    @torch.no_grad()
    def predict(self, image: Tensor, check: bool = True) -> Predictions:
        """Returns the teachers' outputs, and those of their checks.

        Args:
            image: (B, ...).
            check: whether to run the checks.
        """
        outputs: dict[str, Tensor] = {}
        checks: dict[str, list[Tensor]] = {}
        for expert in self._experts:
            predicted = expert.run(expert.mean, image, self._inferer)
            outputs |= predicted
            for weights in expert.checks if check else []:
                checked = predicted if weights is expert.mean else expert.run(weights, image, self._inferer)
                for name, output in checked.items():
                    checks.setdefault(name, []).append(output)
        return outputs, checks


def _copy_for(network: nn.Module, tasks: Sequence[str]) -> nn.Module:
    """Returns a copy for inference, which computes no outputs of other tasks if the network can do without."""
    copied = copy.deepcopy(network).eval().requires_grad_(False)
    copied.zero_grad(set_to_none=True)
    if isinstance(copied, MTMedFormer):
        copied.keep_tasks(tasks)
    return copied
