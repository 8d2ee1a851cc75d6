"""Sums of tensors: exact whatever the form of the terms, and never changed under the eyes of their readers."""

from __future__ import annotations

import pytest
import torch

from mtmedformer_monai.federated.tensor_sums import (
    SMALL,
    TensorSums,
    all_finite,
    compact,
    constant,
    is_constant,
    quotient_of,
)


def large(seed: int) -> torch.Tensor:
    return torch.randn(3, SMALL, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [1, 2, 3, 4], ids=lambda count: f"{count} terms")
def test_large_tensors_are_summed_in_float64(count):
    sums, terms = TensorSums(), [large(seed) for seed in range(count)]
    for term in terms:
        sums.add("w", term)
    assert torch.equal(sums.get("w"), torch.stack(terms).double().sum(dim=0))


def test_what_was_read_stays_and_the_sum_goes_on():
    sums = TensorSums()
    for seed in range(3):
        sums.add("w", large(seed))
    read = sums.get("w").clone(), sums.get("w")
    sums.add("w", large(3))
    sums.add("w", large(4))
    assert torch.equal(*read)
    expected = torch.stack([large(seed) for seed in range(5)]).double().sum(dim=0)
    torch.testing.assert_close(sums.get("w"), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_constant_and_other_terms_add_up_in_any_order(order):
    terms = [torch.tensor(2.0).expand(2, 2), torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor(0.5).expand(2, 2)]
    sums = TensorSums()
    for index in order:
        sums.add("w", terms[index])
    assert sums.get("w").tolist() == [[3.5, 4.5], [5.5, 6.5]]


def test_sums_of_constants_remain_one_number():
    sums = TensorSums({"w": constant(torch.full((2, 3), 0.1))})
    sums.add("w", constant(torch.full((2, 3), 0.2)))
    assert is_constant(sums.get("w"))
    assert compact(sums.get("w")).tolist() == [[float(torch.tensor(0.1)) + float(torch.tensor(0.2))]]


def test_types_that_numpy_lacks_are_summed_too():
    sums = TensorSums({"w": torch.tensor([1.0, 2.0], dtype=torch.bfloat16), "n": torch.tensor([3, 4])})
    sums.add("w", torch.tensor([0.5, 0.5], dtype=torch.float16))
    assert sums.get("w").tolist() == [1.5, 2.5]
    assert sums.get("n").dtype == torch.float64


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_number_that_is_not_finite_is_found_by_name(bad):
    values = {"small": torch.ones(3), "large": torch.ones(SMALL), "other": torch.full((2,), 3e38)}
    assert all_finite(values) is None
    for name, value in values.items():
        changed = value.clone()
        changed[-1] = bad
        assert all_finite({**values, name: changed}) == name


def test_infinities_that_cancel_are_found():
    assert all_finite({"w": torch.tensor([torch.inf, -torch.inf])}) == "w"


def test_a_quotient_is_rounded_once():
    numerator, denominator = large(0).double(), constant(torch.full((3, SMALL), 3.0)).double()
    found = quotient_of(numerator, denominator, torch.float32)
    assert torch.equal(found, (numerator / 3.0).float())
    assert quotient_of(torch.tensor([5.0]).double(), torch.tensor([2.0]).double(), torch.int64).tolist() == [2]
