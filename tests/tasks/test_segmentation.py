import math

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss

from mtmedformer_monai.keys import MASKS
from mtmedformer_monai.tasks import SegmentationTask
from mtmedformer_monai.tasks.segmentation import dice_loss, pixel_loss

NAN = float("nan")
SURE = 30.0  # a logit whose sigmoid is 1 in float32


def test_dice_by_hand():
    logits = torch.tensor([[[[SURE, SURE], [-SURE, -SURE]]], [[[-SURE, -SURE], [-SURE, -SURE]]]])
    target = torch.tensor([[[[1.0, 0], [0, 0]]], [[[0, 0], [0, 0]]]])
    annotated = torch.ones_like(target, dtype=torch.bool)
    # First image: overlap 1, sizes 2 and 1, so 1 - (2 + 1) / (3 + 1); the second is empty and found empty.
    assert dice_loss(logits, target, annotated, batch=False).item() == pytest.approx((0.25 + 0.0) / 2)
    assert dice_loss(logits, target, annotated, batch=True).item() == pytest.approx(0.25)


@pytest.mark.parametrize("batch", [False, True], ids=["by_image", "by_batch"])
def test_dice_agrees_with_monai(batch):
    torch.manual_seed(0)
    logits, target = torch.randn(3, 2, 8, 9), (torch.rand(3, 2, 8, 9) > 0.6).float()
    theirs = DiceLoss(sigmoid=True, batch=batch, smooth_nr=1.0, smooth_dr=1.0)(logits, target)
    ours = dice_loss(logits, target, torch.ones_like(target, dtype=torch.bool), batch)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)


def test_cross_entropy_and_focal_by_hand():
    logits, target, everywhere = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2).bool()
    assert pixel_loss(logits, target, everywhere, 0.0).item() == pytest.approx(math.log(2))
    assert pixel_loss(logits, target, everywhere, 2.0).item() == pytest.approx(0.25 * math.log(2))


def test_focal_has_a_finite_gradient_where_it_is_sure():
    logits = torch.tensor([0.0, 20.0, 200.0, -200.0], requires_grad=True)
    pixel_loss(logits, torch.ones(4), torch.ones(4).bool(), 0.5).backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("settings", [{}, {"batch_dice": True}, {"focal_gamma": 2.0}], ids=str)
@pytest.mark.parametrize("junk", [0.0, float("inf"), NAN], ids=str)
def test_a_missing_channel_is_as_if_it_were_not_there(settings, junk):
    torch.manual_seed(0)
    task, apart = SegmentationTask("t", ["a", "b"], **settings), SegmentationTask("t", ["a"], **settings)
    output, target = torch.randn(2, 2, 4, 4), (torch.rand(2, 2, 4, 4) > 0.5).float()
    target[:, 1], output[:, 1] = NAN, junk
    output.requires_grad_()
    loss = task.loss(output, target)
    loss.backward()
    assert loss.item() == pytest.approx(apart.loss(output[:, :1].detach(), target[:, :1]).item())
    assert (output.grad[:, 1] == 0).all()
    assert (output.grad[:, 0] != 0).any()


def test_an_image_without_annotation_has_no_gradient():
    torch.manual_seed(0)
    task, output = SegmentationTask("t", ["a"]), torch.randn(3, 1, 4, 4)
    target = (torch.rand(3, 1, 4, 4) > 0.5).float()
    target[1] = NAN
    both = task.loss(output[[0, 2]], target[[0, 2]])
    assert task.loss(output, target).item() == pytest.approx(both.item())
    assert task.is_annotated(target).tolist() == [True, False, True]


def test_half_precision_costs_no_more_than_its_rounding():
    torch.manual_seed(0)
    task, output = SegmentationTask("t", ["a"]), torch.randn(2, 1, 64, 64)
    target = (torch.rand(2, 1, 64, 64) > 0.5).float()
    assert task.loss(output.half(), target).item() == pytest.approx(task.loss(output, target).item(), rel=1e-3)


def test_encodes_masks_and_marks_missing_ones():
    mask = np.zeros((3, 4), dtype=bool)
    mask[1, 2] = True
    target = SegmentationTask("t", ["lung", "heart"]).encode_target({MASKS: {"lung": mask}}, (3, 4))
    assert target.shape == (2, 3, 4)
    assert target[0].nonzero().tolist() == [[1, 2]]
    assert target[1].isnan().all()


def test_describes_the_share_of_the_frame():
    probs = torch.tensor([[[0.9, 0.1], [0.5, 0.0]]])
    assert SegmentationTask("t", ["lung"]).describe(probs) == {"area_fraction": {"lung": 0.5}}


def test_refuses_structures_of_one_name():
    with pytest.raises(ValueError, match=r"structures with different names, got \['a', 'a'\]"):
        SegmentationTask("t", ["a", "a"])
