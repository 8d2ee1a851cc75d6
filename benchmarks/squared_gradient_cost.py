"""Measures the cost of squared gradients in training: CPU time of steps with and without them, alternately.

    python benchmarks/squared_gradient_cost.py [--size tiny] [--image 128] [--batch 16] [--steps 12]

Prints the median of each, and their ratio, which must be below 1.15. For results with the tiny network, 128 x 128,
batch size 16 and one thread of a shared CPU, see docs/results.md.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from monai.data import DataLoader
from monai.engines import SupervisedTrainer

from mtmedformer_monai.engines import ClipGradients, PrepareMultiTaskBatch
from mtmedformer_monai.federated.client.local_training import LocalTrainingHandler
from mtmedformer_monai.federated.client.ownership import own
from mtmedformer_monai.federated.strategies.fedavg import AveragingClient
from mtmedformer_monai.losses.hybrid import HybridLoss
from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask


class WithSquares(AveragingClient):
    """Federated averaging that estimates squared gradients without using them."""

    needs_squared_gradient = True


class Images(torch.utils.data.Dataset):
    """Noise images with labels for all tasks."""

    def __init__(self, count: int, size: int) -> None:
        self.data = [
            {"masks": {"lung": "", "opacity": ""}, "boxes": {"opacity": []}, "labels": {"finding": "normal"}}
        ] * count
        self.size = size

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        mask = torch.zeros(1, self.size, self.size)
        mask[:, 10:40, 10:40] = 1
        boxes = torch.full((16, 5), -1.0)
        boxes[0] = torch.tensor([10.0, 10.0, 40.0, 40.0, 0.0])
        image = torch.rand(1, self.size, self.size)
        return {"image": image, "lung": mask, "opacity": mask, "opacity_box": boxes, "finding": torch.tensor(1.0)}


def make_trainer(settings: argparse.Namespace, rule: AveragingClient) -> SupervisedTrainer:
    torch.manual_seed(0)
    tasks = [
        SegmentationTask("lung", ["lung"]),
        SegmentationTask("opacity", ["opacity"]),
        DetectionTask("opacity_box", ["opacity"]),
        ClassificationTask("finding", ["normal", "pneumonia"], "binary"),
    ]
    network = MTMedFormer(HierarchicalTransformer(settings.size), tasks)
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=DataLoader(Images(settings.batch, settings.image), batch_size=settings.batch),
        network=network,
        optimizer=torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True),
        loss_function=HybridLoss(tasks),
        prepare_batch=PrepareMultiTaskBatch(tasks),
        train_handlers=[ClipGradients(5.0)],
        decollate=False,
    )
    LocalTrainingHandler(rule, own(trainer)).attach(trainer)
    return trainer


def seconds_of_a_step(trainer: SupervisedTrainer, batch: dict[str, torch.Tensor]) -> float:
    start = time.process_time()
    trainer.state.iteration += 1
    trainer._iteration(trainer, batch)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--image", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=12)
    settings = parser.parse_args()
    trainers = {"plain": make_trainer(settings, AveragingClient()), "squares": make_trainer(settings, WithSquares())}
    batch = next(iter(trainers["plain"].data_loader))
    for trainer in trainers.values():
        trainer.run()  # warmup; starts the handlers
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(settings.steps):
        for name, trainer in trainers.items():
            seconds[name].append(seconds_of_a_step(trainer, batch))
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    for name, value in medians.items():
        print(f"{name:10s} {1000 * value:8.1f} ms CPU per step, median of {settings.steps}")
    print(f"ratio      {medians['squares'] / medians['plain']:8.3f}")


if __name__ == "__main__":
    main()
