"""Combines the metrics of all tasks into one key metric for MONAI's evaluator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from monai.utils import CommonKeys

from mtmedformer_monai.engines.checkpointing.divergence import diverged
from mtmedformer_monai.tasks.base import Task

HALF_WEIGHT_CASES = 20
"""Number of cases at which a metric has half of the maximum weight."""


class MultiTaskMetric:
    """Key metric of an evaluator: the weighted mean over tasks of each task's primary metric.

    Pass it to the stock engine as `key_val_metric={"mean_score": MultiTaskMetric(tasks)}`. At the end of each epoch,
    `engine.state.metrics` contains `<task>_<metric>` for every metric of every task, and the mean under the name of the
    key metric, which MONAI's CheckpointSaver and early stopping use.

    A metric that is computed from n cases (`cases` of the task's metric) has the weight n / (n + 20), so that a metric
    that fluctuates because it depends on five boxes does not select the epoch for tasks with hundreds of images. A
    metric that does not report its cases has the weight 1.

    The raw network output is read when the forward pass completes, before decollation and postprocessing. The metric
    therefore works with and without decollation and does not depend on the postprocessing. A task without any
    annotation has NaN metrics and is excluded from the mean. A self-supervised task is a means to the others: its
    metric, such as a signal-to-noise ratio in dB, would outweigh theirs and counts only if no other task has one.

    Args:
        tasks: the network's tasks.
        key_metrics: {task: metric} that replaces a task's `primary_metric` in the mean; higher must be better. A
            self-supervised task that is named here counts as the others do.
        required: raise an error if no task has a defined metric. If False, the mean is NaN; use this for evaluations
            that do not select an epoch, such as those of a small client in a federation.
    """

    def __init__(
        self, tasks: Sequence[Task], key_metrics: Mapping[str, str] | None = None, required: bool = True
    ) -> None:
        self._required = required
        self._tasks = list(tasks)
        self._metrics = {task.name: task.make_metric() for task in tasks}
        self._key_metrics = {task.name: task.primary_metric for task in tasks} | dict(key_metrics or {})
        self._means_to_others = {task.name for task in tasks if task.self_supervised} - set(key_metrics or {})
        unknown = sorted(set(self._key_metrics) - set(self._metrics))
        if unknown:
            raise ValueError(f"key_metrics expects task names out of {sorted(self._metrics)}, got {unknown}.")

    def attach(self, engine: Engine, name: str) -> None:
        """Registers the metric on an evaluator (or trainer), as Ignite's metrics do."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.reset)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self.update)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.compute, name)

    def reset(self) -> None:
        """Resets the accumulated state."""
        for metric in self._metrics.values():
            metric.reset()

    @torch.no_grad()
    def update(self, engine: Engine) -> None:
        """Adds the current batch."""
        outputs, targets = engine.state.output[CommonKeys.PRED], engine.state.output[CommonKeys.LABEL]
        for task in self._tasks:
            if task.name not in targets:
                continue
            probs = task.activate(outputs[task.name].detach())
            if not bool(torch.isfinite(probs).all()):
                raise diverged(f"task {task.name!r} returned non-finite values")
            self._metrics[task.name].update(probs, targets[task.name])

    def compute(self, engine: Engine, name: str) -> None:
        """Writes all metrics to `engine.state.metrics`."""
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
            weights[task_name] = case_weight(values.get("cases", math.inf))
            engine.state.metrics.update({f"{task_name}_{metric}": value for metric, value in values.items()})
        aims = {task: score for task, score in scores.items() if task not in self._means_to_others}
        chosen = scores if all(map(math.isnan, aims.values())) else aims
        engine.state.metrics[name] = _mean_of_known(chosen, weights, self._required)


def case_weight(cases: float) -> float:
    """Returns the weight in (0, 1] of a metric that is computed from `cases` cases; values below 1 count as 1.

    Example:
        >>> case_weight(5), case_weight(20), case_weight(math.inf)
        (0.2, 0.5, 1.0)
    """
    return 1.0 / (1.0 + HALF_WEIGHT_CASES / max(cases, 1.0))


def _mean_of_known(scores: Mapping[str, float], weights: Mapping[str, float], required: bool) -> float:
    known = {name: score for name, score in scores.items() if not math.isnan(score)}
    if not known and not required:
        return math.nan
    if not known:  # NaN would remain the best score forever, because no value compares greater
        raise ValueError(
            f"none of the tasks {sorted(scores)} has a defined metric: the images are not annotated or show only one "
            "class; check the datalist's validation list."
        )
    return sum(weights[name] * score for name, score in known.items()) / sum(weights[name] for name in known)
