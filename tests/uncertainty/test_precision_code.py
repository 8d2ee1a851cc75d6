import math

import pytest
import torch

from mtmedformer_monai.uncertainty.precision_code import (
    decode_precision,
    decode_signed,
    encode_precision,
    encode_signed,
)


@pytest.mark.parametrize("orders", [0.0, 2.0, 8.0], ids=["alike", "two orders", "eight orders"])
def test_error_stays_within_half_a_step(orders):
    exponents = torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * orders
    precision = 10.0**exponents
    code = encode_precision(precision)
    error = (decode_precision(code, torch.float64) / precision - 1).abs().max().item()
    assert error <= math.expm1(code.step / 2) + 1e-9
    assert math.expm1(code.step / 2) <= math.expm1(orders * math.log(10) / 254 / 2)


def test_no_precision_stays_none():
    precision = torch.tensor([0.0, 3.0, 0.0])
    assert decode_precision(encode_precision(precision))[[0, 2]].tolist() == [0.0, 0.0]
    assert decode_precision(encode_precision(torch.zeros(2, 3))).tolist() == [[0.0] * 3] * 2


def test_a_byte_a_weight_and_the_shape_kept():
    code = encode_precision(torch.rand(3, 4))
    assert code.codes.dtype == torch.uint8
    assert code.codes.shape == (3, 4)


def test_coding_twice_changes_nothing_more():
    once = decode_precision(encode_precision(torch.rand(100) + 0.01))
    torch.testing.assert_close(decode_precision(encode_precision(once)), once, rtol=1e-5, atol=0)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_what_is_no_precision_is_refused(value):
    with pytest.raises(ValueError, match="guard the factor first"):
        encode_precision(torch.tensor([1.0, value]))


def test_a_signed_change_keeps_its_sign_and_its_size_within_half_a_step():
    change = torch.randn(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    code = encode_signed(change)
    assert code.codes.dtype == torch.int8
    back = decode_signed(code, torch.float64)
    told = code.codes != 0
    assert ((back / change)[told] - 1).abs().max().item() <= math.expm1(code.step / 2) + 1e-9
    assert (change[~told].abs() < 1e-5 * change.abs().max()).all()


def test_changes_far_below_the_largest_are_none():
    coded = encode_signed(torch.tensor([1e-9, -1e-3, 1.0]))
    torch.testing.assert_close(decode_signed(coded), torch.tensor([0.0, -1e-3, 1.0]))
    assert decode_signed(encode_signed(torch.zeros(2))).tolist() == [0.0, 0.0]


def test_coding_a_coded_change_changes_nothing_more():
    once = decode_signed(encode_signed(torch.randn(500)))
    torch.testing.assert_close(decode_signed(encode_signed(once)), once, rtol=1e-5, atol=0)


def test_a_change_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="the client's training has diverged"):
        encode_signed(torch.tensor([torch.inf]))
