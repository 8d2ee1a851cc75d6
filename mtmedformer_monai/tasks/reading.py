"""Conversion of tensors to named values for findings."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def named(names: Sequence[str], values: Tensor) -> dict[str, float]:
    """Returns {name: value}, rounded to six digits.

    Args:
        names: K names.
        values: (K,).
    """
    return {name: round(value, 6) for name, value in zip(names, values.tolist(), strict=True)}
