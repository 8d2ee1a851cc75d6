import math

import pytest
import torch
from monai.data.box_utils import box_pair_giou

from mtmedformer_monai.keys import BOXES
from mtmedformer_monai.tasks import DetectionTask
from mtmedformer_monai.tasks.detection import center_map, generalized_iou, soft_focal
from mtmedformer_monai.tasks.detection_head import points_of

NAN = float("nan")
SURE = 30.0


def grid(side: int = 64) -> torch.Tensor:
    """Points of strides 8, 16 and 32 over a square."""
    return torch.cat([points_of(side // s, side // s, s, torch.zeros(1)) for s in (8, 16, 32)])


def target_of(*rows: list[float], size: int = 3) -> torch.Tensor:
    target = torch.full((1, size, 5), -1.0)
    for index, row in enumerate(rows):
        target[0, index] = torch.tensor(row)
    return target


def perfect(task: DetectionTask, target: torch.Tensor) -> torch.Tensor:
    """Returns the output with zero loss: the center map, and at each point its matched box."""
    points = grid()
    heat, nearest = center_map(points, target, len(task.classes)).max(dim=3)
    boxes = target[0, nearest[0, :, 0], :4]
    logits = heat.clamp(1e-12, 1 - 1e-12).logit().clamp(-SURE, SURE)[0]
    return torch.cat([boxes, points, logits], dim=1)[None]


def test_loss_of_one_point_by_hand():
    task = DetectionTask("t", ["mass"])
    output = torch.tensor([[[0.0, 0, 8, 4, 4, 4, 8, 0.0]]])  # half the box, score 1/2
    # Focal: |1 - 1/2|^2 * log 2. IoU 1/2, hull the box itself: 1 - 1/2.
    assert task.loss(output, target_of([0, 0, 8, 8, 0])).item() == pytest.approx(0.25 * math.log(2) + 0.5)
    assert task.loss(output, target_of()).item() == pytest.approx(0.25 * math.log(2))  # no box: the score is penalized


def test_generalized_iou_agrees_with_monai_and_by_hand():
    torch.manual_seed(0)
    low, other_low = torch.rand(20, 2) * 10, torch.rand(20, 2) * 10
    boxes = torch.cat([low, low + 1 + torch.rand(20, 2) * 5], dim=1)
    others = torch.cat([other_low, other_low + 1 + torch.rand(20, 2) * 5], dim=1)
    assert torch.allclose(generalized_iou(boxes, others), box_pair_giou(boxes, others), atol=1e-5)
    # Two unit squares with one between them: IoU 0, hull 3, union 2.
    pair = generalized_iou(torch.tensor([0.0, 0, 1, 1]), torch.tensor([2.0, 0, 3, 1]))
    assert pair.item() == pytest.approx(-1 / 3)


def test_soft_focal_is_zero_at_the_target_alone():
    target = torch.tensor(0.3)
    at = soft_focal(target.logit(), target)
    assert at.item() == pytest.approx(0.0, abs=1e-9)
    assert all(soft_focal(target.logit() + shift, target) > 1e-5 for shift in (-0.5, 0.5))


@pytest.mark.parametrize("rows", [[[20, 33, 31, 49, 0]], [[4, 4, 60, 60, 0], [40, 8, 52, 20, 0]], []], ids=len)
def test_the_loss_is_zero_for_a_perfect_output_only(rows):
    torch.manual_seed(0)
    task, target = DetectionTask("t", ["mass"]), target_of(*rows)
    best = perfect(task, target)
    assert task.loss(best, target).item() == pytest.approx(0.0, abs=1e-5)
    for _ in range(20):
        moved = best.clone()
        moved[..., :2] -= 3 * torch.rand(84, 2)
        moved[..., 2:4] += 3 * torch.rand(84, 2)
        assert task.loss(moved, target).item() > (0.01 if rows else -1)
        scored = best.clone()
        scored[..., 7] += 3 * torch.randn(84)
        scored[..., 7] = scored[..., 7].clamp(-3, 3)
        assert task.loss(scored, target).item() > 1e-3


def test_the_perfect_output_is_read_as_the_boxes():
    task, target = DetectionTask("t", ["mass"]), target_of([20, 33, 31, 49, 0], [40, 8, 62, 30, 0])
    found = task.describe(task.activate(perfect(task, target))[0])["boxes"]
    assert sorted(each["box"] for each in found) == [[20, 33, 31, 49], [40, 8, 62, 30]]
    assert all(each["class"] == "mass" and each["score"] == pytest.approx(1.0) for each in found)


def test_each_box_is_assigned_to_one_stride_and_the_nearest_point():
    points = grid(512)
    for side, stride in [(1, 8), (20, 8), (64, 8), (65, 16), (128, 16), (129, 32), (500, 32)]:
        heat = center_map(points, target_of([3, 5, 3 + side, 5 + side / 2, 0]), 1)[0, :, 0, 0]
        assert points[heat > 0, 2].unique().tolist() == [stride]
        assert heat.max() == 1.0
        nearest = points[heat.argmax()]
        assert abs(nearest[0] - (3 + side / 2)) <= stride / 2
        assert abs(nearest[1] - (5 + side / 4)) <= stride / 2


def test_heights_of_a_box_by_hand():
    # The center is (20, 10), standard deviations are 0.16 sides: 6.4 and 3.2.
    heat = center_map(grid(), target_of([0, 0, 40, 20, 0]), 1)[0, :, 0, 0].reshape(-1)[:64].reshape(8, 8)
    assert heat[1, 2].item() == 1.0  # (20, 12), the nearest
    assert heat[1, 3].item() == pytest.approx(math.exp(-0.5 * ((8 / 6.4) ** 2 + (2 / 3.2) ** 2)))  # (28, 12)
    assert heat[0, 2].item() == pytest.approx(math.exp(-0.5 * (6 / 3.2) ** 2))  # (20, 4)


def test_points_far_from_a_center_get_no_box_gradient():
    task, target = DetectionTask("t", ["mass"]), target_of([0, 0, 40, 20, 0])
    best = perfect(task, target)
    near, far = best.clone(), best.clone()
    near[0, 8 + 3, :4], far[0, 2, :4] = (torch.tensor([0.0, 0, 1, 1]) for _ in range(2))  # heights 0.38 and 0.17
    assert task.loss(near, target).item() > 0.1
    assert task.loss(far, target).item() == pytest.approx(task.loss(best, target).item())


def test_classes_have_maps_of_their_own_and_the_order_of_boxes_never_matters():
    rows = [[20, 33, 31, 49, 0], [40, 8, 62, 30, 1]]
    first, second = target_of(*rows), target_of(*rows[::-1])
    heat = center_map(grid(), first, 2).amax(dim=3)
    assert torch.equal(heat, center_map(grid(), second, 2).amax(dim=3))
    assert not ((heat[0, :, 0] > 0.3) & (heat[0, :, 1] > 0.3)).any()
    task, output = DetectionTask("t", ["mass", "nodule"]), torch.rand(1, 84, 9) * 10
    output[..., 4:7] = grid()
    assert task.loss(output, first).item() == pytest.approx(task.loss(output, second).item())


@pytest.mark.parametrize("junk", [0.0, float("inf"), NAN], ids=str)
def test_an_image_without_annotation_has_no_gradient(junk):
    torch.manual_seed(0)
    task, target = DetectionTask("t", ["mass"]), target_of([20, 33, 31, 49, 0])
    output = perfect(task, target).repeat(2, 1, 1) + 1.0
    output[..., 4:7] = grid()
    output[1, :, :4], output[1, :, 7:] = junk, junk
    output.requires_grad_()
    loss = task.loss(output, torch.cat([target, torch.full_like(target, NAN)]))
    loss.backward()
    assert loss.item() == pytest.approx(task.loss(output[:1].detach(), target).item())
    assert (output.grad[1] == 0).all()
    assert (output.grad[0] != 0).any()


def test_boxes_of_all_classes_or_of_none():
    task = DetectionTask("t", ["mass", "nodule"], max_boxes=2)
    target = task.encode_target({BOXES: {"mass": [], "nodule": [[1, 2, 3, 4]]}}, (9, 9))
    assert target.tolist() == [[1, 2, 3, 4, 1], [-1] * 5]
    assert (task.encode_target({BOXES: {"mass": [], "nodule": []}}, (9, 9)) == -1).all()  # no box is present
    for item in ({}, {BOXES: None}, {BOXES: {"other": []}}):
        assert task.encode_target(item, (9, 9)).isnan().all()  # not annotated
    with pytest.raises(ValueError, match=r"boxes of all of \['mass', 'nodule'\] or none, got \['mass'\]"):
        task.encode_target({BOXES: {"mass": [[1, 2, 3, 4]]}}, (9, 9))
    with pytest.raises(ValueError, match="at most 2 boxes, got 3; increase max_boxes"):
        task.encode_target({BOXES: {"mass": [[1, 2, 3, 4]] * 3, "nodule": []}}, (9, 9))
    with pytest.raises(ValueError, match=r"expects finite boxes .* with x1 < x2 .* got \[3, 2, 1, 4\]"):
        task.encode_target({BOXES: {"mass": [[3, 2, 1, 4]], "nodule": []}}, (9, 9))


@pytest.mark.parametrize(("corner", "value"), [(0, float("-inf")), (1, float("nan")), (2, float("inf"))], ids=str)
def test_boxes_are_finite(corner, value):
    box = [1.0, 2.0, 3.0, 4.0]
    box[corner] = value
    with pytest.raises(ValueError, match=r"expects finite boxes .*, got \[.*(nan|inf)"):
        DetectionTask("t", ["mass"]).encode_target({BOXES: {"mass": [box]}}, (9, 9))


def test_levels_are_consecutive_and_exist():
    with pytest.raises(ValueError, match=r"consecutive levels, such as \[1, 2, 3\], got \[1, 3\]"):
        DetectionTask("t", ["mass"], levels=[1, 3])
    with pytest.raises(ValueError, match=r"expects levels in 0\.\.2, got \[2, 3\]"):
        DetectionTask("t", ["mass"], levels=[2, 3]).make_decoder([8, 8, 8], [4, 8, 16], 8)


def test_boxes_below_the_threshold_of_their_class_displace_none_of_another_class():
    task = DetectionTask("t", ["mass", "nodule"], max_boxes=2).calibrate(None, {"mass": 0.9, "nodule": 0.1})
    output = torch.zeros(3, 9)
    output[:, :4] = torch.tensor([[0.0, 0, 8, 8], [20, 0, 28, 8], [40, 0, 48, 8]])
    output[:, 7:] = torch.tensor([[0.5, 0.0], [0.5, 0.0], [0.0, 0.25]])
    assert task.describe(output)["boxes"] == [{"box": [40.0, 0.0, 48.0, 8.0], "score": 0.25, "class": "nodule"}]
