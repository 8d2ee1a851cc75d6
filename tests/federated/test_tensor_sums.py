"""Sums of tensors: exact whatever the form of the terms, and never changed under the eyes of their readers."""

from __future__ import annotations

import pytest
import torch

from mtmedformer_monai.federated.tensor_sums import (
    LARGEST,
    SMALL,
    TensorSums,
    Terms,
    compact,
    constant,
    is_constant,
    magnitude,
    quotient_of,
)


def terms_of(**tensors: torch.Tensor) -> Terms:
    return Terms.of(tensors)


def large(seed: int) -> torch.Tensor:
    return torch.randn(3, SMALL, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [1, 2, 3, 4], ids=lambda count: f"{count} terms")
def test_large_tensors_are_summed_in_float64(count):
    sums, terms = TensorSums(), [large(seed) for seed in range(count)]
    for term in terms:
        sums.add(terms_of(w=term))
    assert torch.equal(sums.get("w"), torch.stack(terms).double().sum(dim=0))


def test_what_was_read_stays_and_the_sum_goes_on():
    sums = TensorSums()
    for seed in range(3):
        sums.add(terms_of(w=large(seed)))
    read = sums.get("w").clone(), sums.get("w")
    sums.add(terms_of(w=large(3)))
    sums.add(terms_of(w=large(4)))
    assert torch.equal(*read)
    expected = torch.stack([large(seed) for seed in range(5)]).double().sum(dim=0)
    torch.testing.assert_close(sums.get("w"), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_constant_and_other_terms_add_up_in_any_order(order):
    terms = [torch.tensor(2.0).expand(2, 2), torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor(0.5).expand(2, 2)]
    sums = TensorSums()
    for index in order:
        sums.add(terms_of(w=terms[index]))
    assert sums.get("w").tolist() == [[3.5, 4.5], [5.5, 6.5]]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2), (2, 3, 1, 0)])
def test_terms_of_other_names_and_forms_add_up_in_any_order(order):
    wide, repeated = torch.arange(3.0 * SMALL).view(3, SMALL), torch.tensor(7.0).expand(3, SMALL)
    terms = [
        terms_of(a=torch.tensor([1.0, 2.0]), b=torch.tensor([[3.0], [4.0]]), w=wide),
        terms_of(b=torch.tensor([[0.5], [0.25]]), a=torch.tensor([10.0, 20.0]), w=repeated),
        terms_of(b=torch.tensor([[100.0], [200.0]])),
        terms_of(a=torch.tensor([1000.0, 2000.0]), c=torch.tensor(5), w=wide),
    ]
    sums = TensorSums()
    for index in order:
        sums.add(terms[index])
    assert sums.get("a").tolist() == [1011.0, 2022.0]
    assert sums.get("b").tolist() == [[103.5], [204.25]]
    assert sums.get("c").item() == 5.0
    assert torch.equal(sums.get("w"), (2.0 * wide + 7.0).double())
    assert sorted(sums.tensors()) == ["a", "b", "c", "w"]
    assert sums.get("d") is None
    assert "d" not in sums


def test_small_sums_that_were_read_stay_and_terms_are_left_as_they_are():
    term = torch.tensor([1.0, 2.0], dtype=torch.float64)
    sums = TensorSums({"a": term})
    read = sums.get("a")
    sums.add(terms_of(a=term))
    assert read.tolist() == term.tolist() == [1.0, 2.0]
    assert sums.get("a").tolist() == [2.0, 4.0]


def test_a_copy_and_its_original_go_on_independently():
    values = {"large": large(0), "small": torch.tensor([1.0, 2.0]), "one": torch.tensor(3.0).expand(4)}
    sums = TensorSums(values)
    copy = sums.copy()
    sums.add(Terms.of(values))
    copy.add(terms_of(small=torch.tensor([1.0, 1.0]), new=torch.tensor([5.0, 6.0])))
    for name, value in values.items():
        assert torch.equal(sums.get(name), 2.0 * value.double())
    assert torch.equal(copy.get("large"), values["large"].double())
    assert copy.get("small").tolist() == [2.0, 3.0]
    assert copy.get("one").tolist() == [3.0] * 4
    assert "new" in copy
    assert "new" not in sums


def test_cleared_sums_start_anew_and_leave_what_was_read():
    sums = TensorSums({"read": large(0), "own": large(1), "small": torch.tensor([1.0, 2.0])})
    read = sums.get("read")
    sums.clear()
    assert list(sums) == []
    sums.add(terms_of(read=large(2), own=large(3)))
    assert torch.equal(read, large(0).double())
    assert torch.equal(sums.get("read"), large(2).double())
    assert torch.equal(sums.get("own"), large(3).double())
    assert sums.get("small") is None


def test_quotients_of_sums_are_rounded_once():
    sums = TensorSums({"w": large(0), "n": torch.tensor(3.0).expand(3, SMALL), "m": large(1).abs() + 1.0})
    assert torch.equal(sums.quotient("w", "n"), (large(0).double() / 3.0).float())
    assert torch.equal(sums.quotient("w", "m"), (large(0).double() / (large(1).abs() + 1.0).double()).float())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64, torch.bool])
def test_a_constant_is_read_whatever_its_type(dtype):
    assert Terms.of({"n": torch.tensor(1, dtype=dtype).expand(2, 3)}).numbers == {"n": 1.0}
    assert Terms.of({"n": torch.tensor(1.5, requires_grad=True).expand(2)}).numbers == {"n": 1.5}


def test_negative_numbers_are_found_by_name_in_every_form():
    values = {
        "p/one": torch.tensor(1.0).expand(3),
        "p/small": torch.tensor([0.0, 1.0]),
        "p/large": torch.ones(SMALL + 1),
    }
    assert Terms.of({**values, "m/other": torch.tensor([-1.0, 1.0])}).negative("p/") is None
    for name, value in values.items():
        assert Terms.of({**values, name: value - 2.0}).negative("p/") == name


def test_means_of_every_form():
    values = {"one": torch.tensor(3).expand(4), "small": torch.tensor([1.0, 2.0]), "large": torch.ones(2, SMALL)}
    assert Terms.of(values).means() == {"one": 3.0, "small": 1.5, "large": 1.0}


def test_equal_numbers_count_as_one_where_asked():
    values = {"p/w": torch.full((2, 2), 0.25), "m/w": torch.full((2, 2), 0.25)}
    terms = Terms.of(values, repeated="p/")
    assert dict(terms.numbers) == {"p/w": 0.25}
    assert list(terms.small) == ["m/w"]


def test_large_counters_are_read_exactly():
    assert Terms.of({"n": torch.tensor(2**24 + 1), "w": torch.tensor(0.5)}).numbers == {"n": 2.0**24 + 1, "w": 0.5}


def test_sums_of_constants_remain_one_number():
    sums = TensorSums({"w": constant(torch.full((2, 3), 0.1))})
    sums.add(terms_of(w=constant(torch.full((2, 3), 0.2))))
    assert is_constant(sums.get("w"))
    assert compact(sums.get("w")).tolist() == [[float(torch.tensor(0.1)) + float(torch.tensor(0.2))]]


def test_types_that_numpy_lacks_are_summed_too():
    sums = TensorSums({"w": torch.tensor([1.0, 2.0], dtype=torch.bfloat16), "n": torch.tensor([3, 4])})
    sums.add(terms_of(w=torch.tensor([0.5, 0.5], dtype=torch.float16)))
    assert sums.get("w").tolist() == [1.5, 2.5]
    assert sums.get("n").dtype == torch.float64


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 1.1e18, -1.1e18])
def test_a_number_that_is_not_finite_or_too_large_is_found_by_name(bad):
    values = {"small": torch.ones(3), "large": torch.ones(SMALL + 1), "other": torch.full((2,), 0.9e18)}
    assert Terms.of(values).out_of_range() is None
    for name, value in values.items():
        changed = value.clone()
        changed[-1] = bad
        assert Terms.of({**values, name: changed}).out_of_range() == name
    assert terms_of(w=torch.tensor(bad).expand(3)).out_of_range() == "w"


def test_infinities_that_cancel_are_found():
    assert terms_of(w=torch.tensor([torch.inf, -torch.inf])).out_of_range() == "w"


def test_a_quotient_is_rounded_once():
    numerator, denominator = large(0).double(), constant(torch.full((3, SMALL), 3.0)).double()
    found = quotient_of(numerator, denominator, torch.float32)
    assert torch.equal(found, (numerator / 3.0).float())
    assert quotient_of(torch.tensor([5.0]).double(), torch.tensor([2.0]).double(), torch.int64).tolist() == [2]


@pytest.mark.parametrize(
    ("values", "is_in_range"),
    [
        ([3.0, -4.0], True),
        ([1e18, -1e18, 1e18], True),  # squares sum up to more than the square of the bound
        ([1e18, -1.1e18], False),
        ([1e30, 0.0], False),  # its square is not finite
        ([0.0, float("nan")], False),
        ([float("-inf"), 0.0], False),
        ([], True),
    ],
    ids=["small", "many at the bound", "one beyond", "square overflows", "NaN", "infinite", "empty"],
)
def test_the_bound_of_magnitudes_is_in_range_if_all_numbers_are(values, is_in_range):
    value = torch.tensor(values)
    assert (magnitude(value) <= LARGEST * (1 + 1e-6)) == is_in_range
    assert not values or not magnitude(value) < float(value.abs().max())
