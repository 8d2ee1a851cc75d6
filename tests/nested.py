"""Comparison of nested states, bit for bit."""

from __future__ import annotations

from typing import Any

import torch


def assert_same(one: Any, other: Any, equal_nan: bool = False) -> None:
    """Compares values, types, order of keys, shapes and dtypes."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=equal_nan)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            assert_same(one[name], other[name], equal_nan)
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for each, its in zip(one, other, strict=True):
            assert_same(each, its, equal_nan)
    else:
        assert one == other
