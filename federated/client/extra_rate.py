"""Learning rate of a round that comes after those that a client's schedule spans.

At the end of its schedule, a client trains at a hundredth of its learning rate, by which nothing new is learned. An
extra round (`ClientRule.is_extra`) therefore has half a cosine of its own, from half of the rate, where the cosine of
the whole schedule is after half of it.
"""

from __future__ import annotations

from typing import Any, Final

from ignite.engine import Events
from ignite.engine.events import RemovableEventHandle

from mtmedformer_monai.engines.schedule import warmup_cosine

PEAK: Final = 0.5
"""Share of the learning rate with which an extra round begins."""


def extra_factor(step: int, num_steps: int) -> float:
    """Returns the learning rate's factor in a step of an extra round.

    Args:
        step: number of completed steps of the round, from 0.
        num_steps: of the round, 1 or more.

    Example:
        >>> [round(extra_factor(step, 4), 4) for step in range(4)]
        [0.5, 0.4275, 0.2525, 0.0775]
    """
    return PEAK * warmup_cosine(step, 0, num_steps)


def use_extra_rate(trainer: Any) -> RemovableEventHandle:
    """Sets the rates of an extra round before each of its iterations, whatever the trainer's own schedule says.

    Groups of parameters without a schedule keep their constant rate.

    Args:
        trainer: SupervisedTrainer whose `max_epochs` ends with the round.

    Returns:
        A handle, whose `remove()` ends it.
    """
    length, first = len(trainer.data_loader), trainer.state.iteration
    steps = max(1, (trainer.state.max_epochs - trainer.state.epoch) * length)

    def set_rates() -> None:
        factor = extra_factor(trainer.state.iteration - first - 1, steps)
        for group in trainer.optimizer.param_groups:
            if "initial_lr" in group:
                group["lr"] = factor * group["initial_lr"]

    return trainer.add_event_handler(Events.ITERATION_STARTED, set_rates)
