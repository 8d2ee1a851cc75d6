import math

import pytest
import torch

from mtmedformer_monai.tasks import ReconstructionTask


def test_loss_is_the_mean_absolute_error_of_hidden_pixels():
    target = torch.full((1, 1, 2, 2), torch.nan)
    target[0, 0, 0] = torch.tensor([0.5, 1.0])
    output = torch.zeros(1, 1, 2, 2, requires_grad=True)  # gray level 0.5
    loss = ReconstructionTask().loss(output, target)
    assert loss.item() == pytest.approx(0.25)
    loss.backward()
    assert output.grad[0, 0, 1].tolist() == [0.0, 0.0]


def test_the_loss_without_masked_pixels_is_exactly_zero():
    output = torch.randn(2, 1, 4, 4, requires_grad=True)
    loss = ReconstructionTask().loss(output, torch.full((2, 1, 4, 4), torch.nan))
    loss.backward()
    assert loss.item() == 0.0
    assert output.grad.abs().sum() == 0.0


def test_metrics_by_hand():
    metric = ReconstructionTask().make_metric()
    target = torch.full((2, 1, 1, 2), torch.nan)
    target[0, 0, 0, 0] = 0.5
    metric.update(torch.full((2, 1, 1, 2), 0.4), target)
    metrics = metric.compute()
    assert metrics["mae"] == pytest.approx(0.1)
    assert metrics["psnr"] == pytest.approx(20.0)  # -10 log10 0.01
    assert metrics["cases"] == 1
    metric.reset()
    assert math.isnan(metric.compute()["psnr"])


def test_output_becomes_gray_levels_and_no_finding():
    task = ReconstructionTask()
    assert task.activate(torch.tensor([-2.0, 0.0, 2.0])).tolist() == [0.0, 0.5, 1.0]
    assert task.describe(torch.zeros(1, 2, 2)) == {}
    assert torch.isnan(task.encode_target({}, (3, 4))).all()


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match="HidePatchesd"):
        ReconstructionTask().make_metric().update(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 3))
