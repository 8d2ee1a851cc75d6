"""Measures a site's traffic per round for each split-learning baseline, compared with the papers' formulas.

    python benchmarks/split_traffic.py [--image 128] [--images 8] [--batch 4] [--epochs 1] [--unify 2]

One site, the chest bundle's tasks, images of noise, one training step per batch: the bytes depend only on shapes.
Prints one row for each system and cut: bytes per round (mean over two rounds, without traffic that occurs once), the
formula's bytes, their ratio, and bytes sent once. docs/split_learning.md has a table. Takes a minute on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

import torch
from command_line import make_parser

from mtmedformer_monai.federated.split import formulas
from mtmedformer_monai.federated.split.factory import make_split_system
from mtmedformer_monai.federated.split.system import LocalSettings, Site
from mtmedformer_monai.losses.hybrid import HybridLoss
from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer, PlainViT
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, ReconstructionTask, SegmentationTask, Task

FLOAT32 = 4
TAILS = ("pyramids.", "decoders.")


class Row(NamedTuple):
    """A system, its network, its settings, and the count of numbers by its formula."""

    label: str
    name: str
    network: Callable[[], MTMedFormer]
    settings: dict[str, object]
    formula: float


def make_tasks() -> list[Task]:
    return [
        SegmentationTask("lung", ["lung"]),
        SegmentationTask("opacity", ["opacity"], batch_dice=True),
        DetectionTask("opacity_box", ["opacity"], max_boxes=4),
        ClassificationTask("finding", ["normal", "pneumonia"], "binary"),
        ClassificationTask("pneumonia_type", ["bacterial", "viral"], "binary"),
    ]


def hierarchical() -> MTMedFormer:
    return MTMedFormer(HierarchicalTransformer("tiny"), make_tasks())


def plain() -> MTMedFormer:
    return MTMedFormer(PlainViT(), make_tasks())


def make_site(options: argparse.Namespace) -> Site:
    batches = []
    for start in range(0, options.images, options.batch):
        count = min(options.batch, options.images - start)
        image = torch.rand(count, 1, options.image, options.image)
        boxes = torch.full((count, 4, 5), -1.0)
        boxes[:, 0] = torch.tensor([8.0, 8.0, 40.0, 40.0, 0.0])
        label = (torch.arange(count) % 2).float()
        mask = (image > 0.5).float()
        batches.append(
            {"image": image, "lung": mask, "opacity": mask, "opacity_box": boxes}
            | {"finding": label, "pneumonia_type": label}
        )
    return Site("site", batches)


def count(network: MTMedFormer, *prefixes: str) -> int:
    return sum(each.numel() for name, each in network.state_dict().items() if name.startswith(prefixes))


def rows(options: argparse.Namespace) -> list[Row]:
    loads = {
        stride: formulas.Load(options.epochs, options.images, (options.image // stride) ** 2, width, options.unify)
        for stride, width in ((4, 32), (8, 64), (16, 192))  # of the feature maps that are sent
    }
    first, second = (TAILS + tuple(f"encoder.stages.{stage}." for stage in range(depth)) for depth in (1, 2))
    ends = (*TAILS, "encoder.patches.", "encoder.pyramid.")
    pretrained = MTMedFormer(HierarchicalTransformer("tiny"), [ReconstructionTask()])
    unify = {"unify_every": options.unify}
    together = {**unify, "alternate": False}
    return [
        Row("FeSTA, plain", "festa", plain, together, formulas.festa(loads[16], count(plain(), *ends))),
        Row("FeSTA, plain, alternating", "festa", plain, unify, formulas.festa(loads[16], count(plain(), *ends))),
        Row("FeSTA, head of 1 stage", "festa", hierarchical, together,
            formulas.festa(loads[4], count(hierarchical(), *first))),
        Row("FeSTA, head of 2 stages", "festa", hierarchical, {**together, "head_stages": 2},
            formulas.festa(loads[8], count(hierarchical(), *second))),
        Row("p-FeSTA, plain", "p_festa", plain, unify,
            formulas.p_festa(loads[16], count(plain(), *TAILS, "encoder.pyramid."))),
        Row("FeSViBS, plain", "fesvibs", plain, unify, formulas.fesvibs(loads[16], count(plain(), *ends))),
        Row("task-agnostic, pretraining", "task_agnostic", hierarchical, {"pretraining_rounds": 2 * options.unify},
            formulas.task_agnostic(count(pretrained, ""))),
    ]  # fmt: skip


def measure(row: Row, site: Site, options: argparse.Namespace) -> tuple[float, int]:
    """Returns bytes per round, and bytes sent once."""
    local = LocalSettings(HybridLoss(make_tasks(), normalize=False), epochs=options.epochs)
    system = make_split_system(row.name, row.network(), local, **row.settings)
    rounds = [system.round([site]) for _ in range(2 * options.unify)]
    return (
        sum(each.each_round() for each in rounds) / len(rounds),
        sum(each.total() - each.each_round() for each in rounds),
    )


def main() -> None:
    parser = make_parser(__doc__)
    for name, default in (("image", 128), ("images", 8), ("batch", 4), ("epochs", 1), ("unify", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.manual_seed(0)
    site = make_site(options)
    print("| system | bytes per round | formula's bytes | ratio | bytes once |\n| --- | --- | --- | --- | --- |")
    for row in rows(options):
        measured, once = measure(row, site, options)
        formula = FLOAT32 * row.formula
        print(f"| {row.label} | {measured:,.0f} | {formula:,.0f} | {measured / formula:.3f} | {once:,} |", flush=True)
    for label, network in (("hierarchical tiny", hierarchical()), ("plain", plain())):
        print(f"| FedAvg, {label} | | {FLOAT32 * formulas.fedavg(count(network, '')):,.0f} | | |")


if __name__ == "__main__":
    main()
