"""A small network overfits four images in all tasks at once, with some labels missing."""

import torch
from torch import Tensor

from mtmedformer_monai.losses.hybrid import HybridLoss
from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask, Task
from tests.networks.small import SMALL

SIDE, STEPS = 64, 120
BOXES = [[], [[10.0, 8, 22, 24]], [[38.0, 30, 56, 54]], [[20.0, 33, 31, 49], [44.0, 44, 60, 60]]]
KINDS = [float("nan"), 0.0, 1.0, 0.0]
NAN = float("nan")


def chest_tasks() -> list[Task]:
    return [
        SegmentationTask("lung", ["lung"]),
        SegmentationTask("opacity", ["opacity"], batch_dice=True),
        DetectionTask("opacity_box", ["opacity"], max_boxes=2),
        ClassificationTask("finding", ["normal", "pneumonia"], "binary"),
        ClassificationTask("pneumonia_type", ["bacterial", "viral"], "binary"),
    ]


def draw() -> tuple[Tensor, dict[str, Tensor]]:
    """Ellipses for lungs, bright rectangles for opacities, noise."""
    y, x = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    centers = torch.tensor([22.0, 28, 34, 40])[:, None, None, None]
    lung = (((x - centers) / 14) ** 2 + ((y - 32) / 24) ** 2 < 1).float()
    opacity, boxes = torch.zeros_like(lung), torch.full((4, 2, 5), -1.0)
    for image, rows in enumerate(BOXES):
        for row, (x1, y1, x2, y2) in enumerate(rows):
            opacity[image, 0, int(y1) : int(y2), int(x1) : int(x2)] = 1
            boxes[image, row] = torch.tensor([x1, y1, x2, y2, 0])
    finding = torch.tensor([float(bool(rows)) for rows in BOXES])
    image = (0.4 * lung + 0.4 * opacity + 0.1 * torch.rand(4, 1, SIDE, SIDE)).clamp(0, 1)
    targets = {"lung": lung.clone(), "opacity": opacity, "opacity_box": boxes, "finding": finding}
    targets["lung"][3] = NAN
    return image, {**targets, "pneumonia_type": torch.tensor(KINDS)}


def test_learns_every_task_at_once():
    torch.manual_seed(0)
    tasks, (image, targets) = chest_tasks(), draw()
    network = MTMedFormer(HierarchicalTransformer(SMALL, drop_path=0.0), tasks, pyramid_width=32)
    loss = HybridLoss(tasks)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.004)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.004, total_steps=STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(network(image), targets).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    outputs = network.eval()(image)
    metrics = {}
    for task in tasks:
        metric = task.make_metric()
        metric.update(task.activate(outputs[task.name].detach()), targets[task.name])
        metrics[task.name] = metric.compute()[task.primary_metric]
    assert metrics["lung"] > 0.95
    assert metrics["opacity"] > 0.9
    assert metrics["opacity_box"] == 1.0
    assert metrics["finding"] == 1.0
    assert metrics["pneumonia_type"] == 1.0
