"""Runs teachers: the client's network with other weights, in evaluation mode."""

# B batch

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtmedformer_monai.engines.checkpointing.training_state import bare
from mtmedformer_monai.federated.teaching import Teacher, Teachers, teacher_of
from mtmedformer_monai.tasks.base import Task

Predictions = tuple[dict[str, Tensor], dict[str, list[Tensor]]]
"""{task: raw output of its teacher}, {task: raw outputs of the networks that must agree}."""


class TeacherNetwork:
    """Predicts with the teachers of one round; the trained network is not touched.

    Memory: a copy of the network, and the weights of the teachers and their checks.

    Args:
        trainer: SupervisedTrainer of the client, whose network and inferer are used.
        teachers: by task.
        tasks: to predict.
        seed: of checks that are drawn; None: no checks.
    """

    def __init__(self, trainer: Any, teachers: Teachers, tasks: Sequence[Task], seed: int | None = None) -> None:
        self._inferer = trainer.inferer
        self._network: nn.Module = copy.deepcopy(bare(trainer.network)).eval().requires_grad_(False)
        self._network.zero_grad(set_to_none=True)
        self._loaded: Mapping[str, Tensor] | None = None
        by_teacher: dict[int, tuple[Teacher, list[str]]] = {}
        for task in tasks:
            teacher = teacher_of(teachers, task.name)
            if teacher is not None:
                by_teacher.setdefault(id(teacher), (teacher, []))[1].append(task.name)
        self._experts = [
            (teacher.mean, [] if seed is None else teacher.checks(seed), names)
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
        for mean, others, names in self._experts:
            predicted = self._run(mean, image)
            outputs |= {name: predicted[name] for name in names}
            for weights in others if check else []:
                checked = predicted if weights is mean else self._run(weights, image)
                for name in names:
                    checks.setdefault(name, []).append(checked[name])
        return outputs, checks

    def _run(self, weights: Mapping[str, Tensor], image: Tensor) -> dict[str, Tensor]:
        if self._loaded is not weights:
            self._network.load_state_dict(dict(weights), strict=False)
            self._loaded = weights
        outputs: dict[str, Tensor] = self._inferer(image, self._network)
        return outputs
