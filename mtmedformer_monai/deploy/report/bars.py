"""Rows of probability bars: one per class, with operating threshold and uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mtmedformer_monai.deploy.results import ClassResult, Uncertainty


@dataclass(frozen=True)
class Bar:
    """The bar of one class; positions are percentages of its width.

    Attributes:
        label: name of the class.
        value: probability as text.
        percent: length of the bar.
        low: start of the uncertainty, one standard deviation below the probability; None if it was not estimated.
        high: its end.
        threshold: place of the operating threshold, or None; an ordinal one is not of this bar alone.
        predicted: whether the class is predicted.
        spoken: the whole row in words, for screen readers.
    """

    label: str
    value: str
    percent: float
    low: float | None
    high: float | None
    threshold: float | None
    predicted: bool
    spoken: str


@dataclass(frozen=True)
class Classification:
    """The classes of one task."""

    task: str
    bars: tuple[Bar, ...]
    applicable: bool
    calibrated: bool
    remarks: tuple[str, ...]


def classification(task: str, result: ClassResult) -> Classification:
    """Arranges the result of one task."""
    spread = _std(result.uncertainty)
    bars = tuple(_bar(name, value, result, spread.get(name)) for name, value in result.probabilities.items())
    said = (*_reached(result), *remarks(result.uncertainty))
    return Classification(readable(task), bars, result.applicable, result.calibrated, said)


def _reached(result: ClassResult) -> tuple[str, ...]:
    """Returns which classes of a multi-class or ordinal task reach their operating threshold, as text."""
    if result.kind not in ("multiclass", "ordinal") or not result.thresholds:
        return ()
    reached = ", ".join(name + result.or_higher for name in result.flagged) or "none"
    return (f"operating threshold reached: {reached}",)


def readable(name: str) -> str:
    """Returns a name as a heading.

    Example:
        >>> readable("breast_density")
        'Breast density'
    """
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def remarks(uncertainty: Uncertainty) -> tuple[str, ...]:
    """Returns the measures that are one number, as text.

    Example:
        >>> remarks({"mutual_information": 0.0123, "std": {"normal": 0.1}})
        ('mutual information 0.012',)
    """
    return tuple(
        f"{name.replace('_', ' ')} {value:.3f}" for name, value in uncertainty.items() if not isinstance(value, Mapping)
    )


def _std(uncertainty: Uncertainty) -> Mapping[str, float]:
    spread = uncertainty.get("std", {})
    return spread if isinstance(spread, Mapping) else {}


def _bar(name: str, value: float, result: ClassResult, spread: float | None) -> Bar:
    threshold = None if result.or_higher else result.thresholds.get(name)
    shown = f"{value:.{result.decimals(name)}f}"
    words = [f"{name}: probability {shown}"]
    if spread is not None:
        words.append(f"standard deviation {spread:.2f}")
    if threshold is not None:
        words.append(f"operating threshold {threshold:.{result.decimals(name)}f}")
    return Bar(
        label=name,
        value=shown + ("" if spread is None else f" ± {spread:.2f}"),
        percent=_percent(value),
        low=None if spread is None else _percent(value - spread),
        high=None if spread is None else _percent(value + spread),
        threshold=None if threshold is None else _percent(threshold),
        predicted=name in result.predicted,
        spoken=", ".join(words),
    )


def _percent(value: float) -> float:
    return round(100 * min(max(value, 0.0), 1.0), 2)
