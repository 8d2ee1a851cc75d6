"""Numbers of tensors by name, for findings that people read."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def named(names: Sequence[str], values: Tensor) -> dict[str, float]:
    """{name: value}, rounded to six digits.

    Args:
        names: K of them.
        values: (K,).
    """
    return {name: round(value, 6) for name, value in zip(names, values.tolist(), strict=True)}
