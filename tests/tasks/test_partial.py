import pytest
import torch

from mtmedformer_monai.tasks.partial import annotated_mean, fill_missing, keep_annotated

NAN, INF = float("nan"), float("inf")


def test_mean_over_what_is_annotated():
    values = torch.tensor([1.0, 2.0, NAN, INF])
    assert annotated_mean(values, torch.tensor([True, True, False, False])).item() == 1.5


def test_nothing_annotated_is_an_exact_zero_with_a_gradient_of_zero():
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    mean = annotated_mean(values, torch.tensor([False, False]))
    mean.backward()
    assert mean.item() == 0.0
    assert values.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_overflow_where_not_annotated_has_no_effect(dtype):
    output = torch.tensor([2.0, NAN, INF], dtype=dtype, requires_grad=True)
    kept = keep_annotated(output, torch.tensor([True, False, False]))
    kept.exp().sum().backward()
    assert kept.dtype == torch.float32
    assert kept.tolist() == [2.0, 0.0, 0.0]
    assert output.grad.float().tolist() == pytest.approx([7.389, 0.0, 0.0], rel=0.01)  # bfloat16 keeps 8 bits


def test_fill_missing():
    target, annotated = fill_missing(torch.tensor([1.0, NAN]), value=5.0)
    assert target.tolist() == [1.0, 5.0]
    assert annotated.tolist() == [True, False]
