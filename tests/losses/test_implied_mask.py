import math
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser
from torch import Tensor

from mtmedformer_monai.losses import HybridLoss, ImpliedMask
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask, Task

NAN, SIZE = float("nan"), 8


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


def tasks() -> list[Task]:
    return [
        SegmentationTask("lung", ["lung"]),
        SegmentationTask("marks", ["scar", "opacity"]),
        DetectionTask("box", ["opacity"], max_boxes=3),
        ClassificationTask("finding", ["normal", "pneumonia", "other"]),
        ClassificationTask("signs", ["opacity", "effusion"], "multilabel"),
    ]


def implied(**settings: object) -> ImpliedMask:
    """Returns the implied opacity of the tasks above, with the weight 1 and two of 64 pixels as smallest area."""
    chosen = {
        "structure": "opacity",
        "boxes": "box",
        "finding": "finding",
        "absent": ["normal"],
        "present": ["pneumonia"],
        "inside": "lung",
        "min_area": 2 / SIZE**2,
        "weight": 1.0,
        **settings,
    }
    mask = ImpliedMask("marks", **chosen)
    mask.resolve(tasks())
    return mask


def outputs_of(logits: Tensor, lung: Tensor | None = None) -> dict[str, Tensor]:
    """Outputs of one image from its opacity's logits (8, 8); the lung is everything, unless its logits are given."""
    lung = torch.ones(SIZE, SIZE) if lung is None else lung
    marks = torch.stack([torch.full_like(logits, 50.0), logits])[None]
    return {"lung": lung[None, None], "marks": marks}


def targets_of(
    finding: float = NAN, boxes: list[list[float]] | None = None, outlined: bool = False
) -> dict[str, Tensor]:
    rows = torch.full((1, 3, 5), NAN if boxes is None else -1.0)
    for index, box in enumerate(boxes or []):
        rows[0, index] = torch.tensor([*box, 0.0])
    marks = torch.full((1, 2, SIZE, SIZE), NAN)
    if outlined:
        marks[:, 1] = 0.0
    return {"marks": marks, "box": rows, "finding": torch.tensor([finding])}


def ramp() -> Tensor:
    """Logits (8, 8) from -3.2 to 3.1, row by row."""
    return (torch.arange(SIZE**2).reshape(SIZE, SIZE) - 32) / 10.0


def test_an_excluding_class_empties_the_mask():
    loss, any_ = implied().loss(outputs_of(ramp()), targets_of(finding=0.0))
    assert loss.item() == pytest.approx(sum(softplus((i - 32) / 10) for i in range(64)) / 64)
    assert any_


def test_empty_boxes_empty_the_mask_whatever_the_class():
    by_class, _ = implied().loss(outputs_of(ramp()), targets_of(finding=0.0))
    for finding in (0.0, 1.0, 2.0, NAN):
        by_boxes, _ = implied().loss(outputs_of(ramp()), targets_of(finding, boxes=[]))
        assert by_boxes.item() == pytest.approx(by_class.item())


def test_a_present_structure_is_taught_at_the_most_likely_pixels_of_its_region():
    """The region is the first row, whose best pixels are its last two; better ones elsewhere do not count."""
    lung = torch.full((SIZE, SIZE), -1.0)
    lung[0] = 1.0
    logits = ramp().requires_grad_()
    loss, any_ = implied().loss(outputs_of(logits, lung), targets_of(finding=1.0))
    assert loss.item() == pytest.approx((softplus(2.5) + softplus(2.6)) / 2)
    loss.backward()
    assert any_
    assert logits.grad.nonzero().tolist() == [[0, 6], [0, 7]]


def test_boxes_bound_the_mask_and_are_filled():
    """Two boxes of two pixels each, of which half, two pixels, have to be filled: those with 3.1 and 3.0."""
    boxes = [[0.0, 0.0, 2.0, 1.0], [6.0, 7.0, 8.0, 8.0]]
    loss, _ = implied(fill=0.5).loss(outputs_of(ramp()), targets_of(finding=1.0, boxes=boxes))
    outside = sum(softplus((i - 32) / 10) for i in range(64) if i not in (0, 1, 62, 63)) / 64
    assert loss.item() == pytest.approx(outside + (softplus(-3.0) + softplus(-3.1)) / 2)


def test_a_box_smaller_than_a_pixel_is_filled():
    """It lies between the centers of four pixels; its own center is in the second of the second row."""
    logits = torch.zeros(SIZE, SIZE, requires_grad=True)
    implied().loss(outputs_of(logits), targets_of(boxes=[[1.6, 1.6, 2.3, 2.3]]))[0].backward()
    assert (logits.grad < 0).nonzero().tolist() == [[1, 1]]


@pytest.mark.parametrize(
    "targets",
    [targets_of(), targets_of(finding=2.0), targets_of(0.0, [[0.0, 0.0, 4.0, 4.0]], outlined=True)],
    ids=["no label", "another class", "outlined"],
)
def test_nothing_is_implied(targets: dict[str, Tensor]):
    logits = torch.full((SIZE, SIZE), torch.inf).requires_grad_()
    loss, any_ = implied().loss(outputs_of(logits), targets)
    loss.backward()
    assert loss.item() == 0.0
    assert not any_
    assert torch.count_nonzero(logits.grad) == 0


def test_a_region_without_pixels_costs_nothing():
    nowhere = torch.full((SIZE, SIZE), -1.0)
    loss, _ = implied().loss(outputs_of(ramp(), nowhere), targets_of(finding=1.0))
    assert loss.item() == 0.0


def test_the_loss_is_the_mean_over_images_that_imply_something():
    single = [(0.0, None), (1.0, None), (1.0, [[1.0, 1.0, 5.0, 6.0]])]
    alone = [implied().loss(outputs_of(ramp()), targets_of(*each))[0].item() for each in single]
    parts = [targets_of(*each) for each in [*single, (2.0, None)]]
    batch = {name: torch.cat([each[name] for each in parts]) for name in parts[0]}
    outputs = {name: each.expand(4, -1, -1, -1) for name, each in outputs_of(ramp()).items()}
    assert implied().loss(outputs, batch)[0].item() == pytest.approx(sum(alone) / 3)


def test_boxes_alone_teach_a_mask_within_them():
    logits = torch.zeros(SIZE, SIZE, requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=20.0)
    for _ in range(100):
        optimizer.zero_grad()
        implied(fill=1.0).loss(outputs_of(logits), targets_of(boxes=[[2.0, 1.0, 6.0, 4.0]]))[0].backward()
        optimizer.step()
    expected = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    expected[1:4, 2:6] = True
    assert torch.equal(logits > 0, expected)


def test_the_hybrid_loss_adds_it_on_the_scale_of_its_task_and_keeps_initial_losses():
    outputs = {**outputs_of(ramp()), "box": torch.zeros(1, 0, 8), "finding": torch.zeros(1, 3)}
    targets = {**targets_of(finding=0.0), "lung": torch.full((1, 1, SIZE, SIZE), NAN)}
    initial = {"marks": 4.0, "finding": math.log(3)}
    only = [task for task in tasks() if task.name not in ("box", "signs")]
    mask = ImpliedMask("marks", "opacity", finding="finding", absent=["normal"], weight=0.5)
    with_, without = HybridLoss(only, initial=initial, implied=[mask]), HybridLoss(only, initial=initial)
    alone, _ = implied(weight=0.5).loss(outputs, targets)
    assert (with_(outputs, targets) - without(outputs, targets)).item() == pytest.approx(alone.item() / 4.0)
    assert with_.last_losses.tolist() == without.last_losses.tolist()
    assert with_.last_present.tolist() == without.last_present.tolist() == [False, False, True]


@pytest.mark.parametrize("balance", ["fixed", "uncertainty", "famo"])
def test_every_balance_learns_from_an_implied_mask_alone(balance: str):
    only = [task for task in tasks() if task.name not in ("box", "signs")]
    mask = ImpliedMask("marks", "opacity", finding="finding", absent=["normal"])
    loss = HybridLoss(only, balance, initial={task.name: 1.0 for task in only}, implied=[mask])
    logits = ramp().requires_grad_()
    outputs = {**outputs_of(logits), "finding": torch.zeros(1, 3)}
    loss(outputs, {**targets_of(finding=0.0), "lung": torch.full((1, 1, SIZE, SIZE), NAN)}).backward()
    assert bool((logits.grad > 0).all())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_area": 0.0}, "min_area"),
        ({"fill": 1.5}, "fill"),
        ({"weight": -1.0}, "weight"),
        ({"boxes": "", "absent": [], "present": []}, "boxes, or a finding"),
        ({"boxes": "boxes"}, "tasks out of"),
        ({"boxes": "lung"}, "with boxes"),
        ({"inside": "finding"}, "inside"),
        ({"structure": "lung"}, "structures"),
        ({"structure": ""}, "structures"),
        ({"present": ["viral"]}, "classes out of"),
        ({"finding": ""}, "classes out of"),
        ({"finding": "signs", "absent": [], "present": ["opacity"]}, "exclusive classes"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        implied(**settings)


def test_the_chest_bundles_config_empties_the_opacities_of_normal_films():
    """`configs/implied_masks.json` beside the training config, on outputs of a film that is labeled as normal alone."""
    configs = Path(__file__).parents[2] / "bundles/chest_xray_multitask/configs"
    parser = ConfigParser()
    parser.read_config([configs / "train.json", configs / "implied_masks.json"])
    loss = parser.get_parsed_content("loss_def")
    outputs = {task.name: torch.zeros(1, 1, SIZE, SIZE, requires_grad=True) for task in loss.tasks[:2]}
    outputs |= {"opacity_box": torch.zeros(1, 4, 8)} | {task.name: torch.zeros(1, 1) for task in loss.tasks[3:]}
    targets = {task.name: torch.full((1, 1, SIZE, SIZE), NAN) for task in loss.tasks[:2]}
    targets |= {
        "opacity_box": torch.full((1, 3, 5), NAN),
        "finding": torch.zeros(1),
        "pneumonia_type": torch.tensor([NAN]),
    }
    loss(outputs, targets).backward()
    assert bool((outputs["opacity"].grad > 0).all())
    assert torch.count_nonzero(outputs["lung"].grad) == 0


def test_a_client_that_looks_for_some_classes_only_can_not_imply_masks():
    boxes = DetectionTask("box", ["opacity", "nodule"]).restrict(["nodule"])
    finding = ClassificationTask("finding", ["normal", "pneumonia", "other"]).restrict(["normal", "pneumonia"])
    masks = SegmentationTask("marks", ["opacity"])
    for mask, other in [
        (ImpliedMask("marks", boxes="box"), boxes),
        (ImpliedMask("marks", finding="finding", absent=["normal"]), finding),
    ]:
        with pytest.raises(ValueError, match=f"all classes of '{other.name}'.*known_classes"):
            mask.resolve([masks, other])
