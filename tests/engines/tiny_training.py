"""A training that takes one second: 8 small images, two tasks and a network of two layers."""

from dataclasses import dataclass, field
from typing import Any

import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler
from monai.transforms import Compose, RandGaussianNoised
from torch import nn

from mtmedformer_monai.engines import (
    EarlyStop,
    MultiTaskMetric,
    PrepareMultiTaskBatch,
    SeedEachEpoch,
    TaskLosses,
    TrainingState,
    ValidationLosses,
    make_warmup_cosine,
)
from mtmedformer_monai.losses.hybrid import HybridLoss
from mtmedformer_monai.tasks.classification import ClassificationTask
from mtmedformer_monai.tasks.segmentation import SegmentationTask

SIZE, NUM_ITEMS = 16, 8


class TinyNetwork(nn.Module):
    """Maps (B, 1, H, W) to logits of a mask and of two classes, with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.dropout = nn.Dropout(0.3)
        self.mask = nn.Conv2d(4, 1, 1)
        self.label = nn.Linear(4, 1)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.dropout(self.stem(image).relu())
        return {"lung": self.mask(hidden), "finding": self.label(hidden.mean(dim=(2, 3)))}


def make_tasks() -> list[Any]:
    return [SegmentationTask("lung", ["lung"]), ClassificationTask("finding", ["normal", "pneumonia"], kind="binary")]


def make_items(seed: int = 0) -> list[dict[str, torch.Tensor]]:
    """Bright squares on noise. The class is the presence of a second square, and some labels are missing."""
    generator, items = torch.Generator().manual_seed(seed), []
    for i in range(NUM_ITEMS):
        image, mask = torch.rand(1, SIZE, SIZE, generator=generator) * 0.3, torch.zeros(1, SIZE, SIZE)
        mask[:, 3:9, 3:9] = 1
        image[mask > 0] += 0.6
        if i % 2:
            image[:, 11:15, 10:15] += 0.6
        items.append({"image": image, "lung": mask, "finding": torch.tensor(float(i % 2))})
    items[3]["lung"] = torch.full((1, SIZE, SIZE), torch.nan)
    items[4]["finding"] = torch.tensor(torch.nan)
    return items


@dataclass
class Training:
    """A trainer with its components, before its first run."""

    trainer: SupervisedTrainer
    evaluator: SupervisedEvaluator
    network: nn.Module
    loss: HybridLoss
    state: TrainingState
    tasks: list[Any]
    handlers: list[Any] = field(default_factory=list)

    def attach(self, *handlers: Any) -> "Training":
        for handler in handlers:
            handler.attach(self.trainer)
        self.handlers += handlers
        return self

    def run(self) -> "Training":
        self.trainer.run()
        return self


def build_training(
    max_epochs: int = 2, num_workers: int = 0, balance: str = "famo", patience: int | None = None, **trainer: Any
) -> Training:
    """Builds a training with the same weights and data at each call."""
    torch.manual_seed(7)
    tasks, network = make_tasks(), TinyNetwork()
    loss = HybridLoss(tasks, balance=balance)
    optimizer = torch.optim.AdamW([*network.parameters(), *loss.parameters()], lr=0.05)
    schedule = make_warmup_cosine(optimizer, warmup_steps=3, total_steps=40)
    noisy = Dataset(make_items(), Compose([RandGaussianNoised("image", prob=0.7, std=0.2)]))
    device = torch.device("cpu")
    evaluator = SupervisedEvaluator(
        device=device,
        val_data_loader=DataLoader(Dataset(make_items(1)), batch_size=3),
        network=network,
        prepare_batch=PrepareMultiTaskBatch(tasks),
        key_val_metric={"mean_score": MultiTaskMetric(tasks)},
        val_handlers=[ValidationLosses(loss)],
    )
    trainer_ = SupervisedTrainer(
        device=device,
        max_epochs=max_epochs,
        train_data_loader=DataLoader(noisy, batch_size=4, shuffle=True, num_workers=num_workers),
        network=network,
        optimizer=optimizer,
        loss_function=loss,
        prepare_batch=PrepareMultiTaskBatch(tasks),
        **trainer,
    )
    stops = [EarlyStop(evaluator, patience)] if patience is not None else []
    state = TrainingState({"schedule": schedule, **({"early_stop": stops[0]} if stops else {})}, evaluator)
    training = Training(trainer_, evaluator, network, loss, state, tasks)
    return training.attach(
        SeedEachEpoch(3),
        TaskLosses(loss),
        *stops,
        ValidationHandler(1, evaluator),
        LrScheduleHandler(schedule, print_lr=False, epoch_level=False),
    )
