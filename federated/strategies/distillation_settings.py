"""Settings with plain values of the rounds that teach one network for all tasks (`distilled.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from mtmedformer_monai.federated.strategy import Strategy
from mtmedformer_monai.federated.teaching import Completion, Distillation, Gate, Teaching

from .distilled import OUTPUTS, Distilled

TAUGHT_BY: Final[Mapping[str, Teaching]] = {"outputs": OUTPUTS, "labels": Completion({}, soft=True)}
"""Choices of the setting `taught_by`: how a client is taught what its images lack labels for, without teachers."""
ROUNDS: Final = 2
"""Number of rounds of the phase by default."""
SETTINGS: Final = ("taught_by", "completion_weight", "soft", "draw_temperature", *Gate.__dataclass_fields__)
"""Settings of the phase, for `distilled`; all but the first apply to labels."""


def distilled(strategy: Strategy, num_rounds: int | None, distillation_rounds: int | None, **settings: Any) -> Strategy:
    """Wraps a strategy by settings with plain values; see `Distilled`, `Gate` and `Completion`.

    Args:
        strategy: to wrap.
        num_rounds: of the rounds before the phase.
        distillation_rounds: of the phase; None: `ROUNDS` if there are groups that have parted.
        settings: out of `SETTINGS`; `draw_temperature` is the temperature of the posteriors.

    Raises:
        ValueError: no number of rounds, an unknown `taught_by`, or a setting that applies to the other choice.
    """
    if num_rounds is None:
        raise ValueError(
            "distillation_rounds expects num_rounds as well, the number of rounds before the distillation, got none."
        )
    teaching, temperature = _teaching_of(**settings), settings.get("draw_temperature", 1.0)
    if distillation_rounds is None:
        return Distilled(strategy, num_rounds, ROUNDS, replace(teaching, optional=True), temperature, if_parted=True)
    return Distilled(strategy, num_rounds, distillation_rounds, teaching, temperature)


def _teaching_of(taught_by: str = "outputs", **settings: Any) -> Teaching:
    if taught_by not in TAUGHT_BY:
        raise ValueError(f"taught_by expects one of {', '.join(TAUGHT_BY)}, got {taught_by!r}.")
    teaching = TAUGHT_BY[taught_by]
    if isinstance(teaching, Distillation):
        if settings:
            raise ValueError(
                f"{', '.join(sorted(settings))} expects taught_by=labels; teaching by outputs has no such setting."
            )
        return teaching
    gate = Gate(**{name: value for name, value in settings.items() if name in Gate.__dataclass_fields__})
    weight, soft = settings.get("completion_weight", teaching.weight), settings.get("soft", teaching.soft)
    return replace(teaching, gate=gate, weight=weight, soft=soft)
