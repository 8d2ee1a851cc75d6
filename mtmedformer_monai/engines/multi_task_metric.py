"""All tasks' figures as one metric of MONAI's stock evaluator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from monai.utils import CommonKeys

from mtmedformer_monai.tasks.base import Task

HALF_WEIGHT_CASES = 20
"""Cases at which a figure has half the weight of one that is known exactly."""


class MultiTaskMetric:
    """Key metric of an evaluator: the weighted mean over tasks of each task's primary figure, all figures beside it.

    Give it to the stock engine as `key_val_metric={"mean_score": MultiTaskMetric(tasks)}`. At the end of each epoch
    `engine.state.metrics` holds `<task>_<figure>` for every figure of every task, and the mean under the key's name,
    which MONAI's CheckpointSaver and early stop then go by.

    A figure that rests on n cases (`cases` of the task's metric) weighs n / (n + 20): one that jumps from epoch to
    epoch because it rests on five boxes must not choose the epoch for tasks with hundreds of images. Figures of a
    metric that doesn't tell its cases weigh 1.

    It reads the network's raw output when the forward pass is done, before decollation and postprocessing: it works
    with either, and postprocessing may change predictions as it likes. A task without any annotation has NaN figures
    and is left out of the mean.

    Args:
        tasks: the network's tasks.
        key_metrics: {task: figure} where another than the task's `primary_metric` counts; higher must be better.
        required: raise where no task has a figure. Without, the mean is NaN: for evaluations that choose no epoch, such
            as those of a small site in a federation.
    """

    def __init__(
        self, tasks: Sequence[Task], key_metrics: Mapping[str, str] | None = None, required: bool = True
    ) -> None:
        self._required = required
        self._tasks = list(tasks)
        self._metrics = {task.name: task.make_metric() for task in tasks}
        self._key_metrics = {task.name: task.primary_metric for task in tasks} | dict(key_metrics or {})
        unknown = sorted(set(self._key_metrics) - set(self._metrics))
        if unknown:
            raise ValueError(f"key_metrics expects names of tasks out of {sorted(self._metrics)}, got {unknown}.")

    def attach(self, engine: Engine, name: str) -> None:
        """Registers on an evaluator (or trainer), as Ignite's metrics do."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.reset)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self.update)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.compute, name)

    def reset(self) -> None:
        """Forgets everything seen."""
        for metric in self._metrics.values():
            metric.reset()

    @torch.no_grad()
    def update(self, engine: Engine) -> None:
        """Adds the batch at hand."""
        outputs, targets = engine.state.output[CommonKeys.PRED], engine.state.output[CommonKeys.LABEL]
        for task in self._tasks:
            if task.name not in targets:
                continue
            probs = task.activate(outputs[task.name].detach())
            if not bool(torch.isfinite(probs).all()):
                raise ValueError(
                    f"task {task.name!r} gave values that are not finite: the training has diverged; "
                    "lower the learning rate or clip gradients, and resume from the last checkpoint."
                )
            self._metrics[task.name].update(probs, targets[task.name])

    def compute(self, engine: Engine, name: str) -> None:
        """Writes all figures into the engine's metrics."""
        scores, weights = {}, {}
        for task_name, metric in self._metrics.items():
            values = metric.compute()
            key = self._key_metrics[task_name]
            if key not in values:
                raise ValueError(
                    f"task {task_name!r} has no metric {key!r}, only {sorted(values)}; set key_metrics or the task's "
                    "primary_metric to one of them."
                )
            scores[task_name] = values[key]
            weights[task_name] = weigh_cases(values.get("cases", math.inf))
            engine.state.metrics.update({f"{task_name}_{metric}": value for metric, value in values.items()})
        engine.state.metrics[name] = _mean_of_known(scores, weights, self._required)


def weigh_cases(cases: float) -> float:
    """The weight of a figure that rests on so many cases, in (0, 1]; fewer than one count as one.

    Example:
        >>> weigh_cases(5), weigh_cases(20), weigh_cases(math.inf)
        (0.2, 0.5, 1.0)
    """
    return 1.0 / (1.0 + HALF_WEIGHT_CASES / max(cases, 1.0))


def _mean_of_known(scores: Mapping[str, float], weights: Mapping[str, float], required: bool) -> float:
    known = {name: score for name, score in scores.items() if not math.isnan(score)}
    if not known and not required:
        return math.nan
    if not known:  # NaN would be the best metric for ever: nothing is greater
        raise ValueError(
            f"no task of {sorted(scores)} has a figure: the images carry no annotation, or one class alone; "
            "check the datalist's validation list."
        )
    return sum(weights[name] * score for name, score in known.items()) / sum(weights[name] for name in known)
