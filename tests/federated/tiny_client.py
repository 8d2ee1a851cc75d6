"""A client small enough for calculations by hand: a linear encoder, and a linear decoder for each of two tasks."""

from __future__ import annotations

import torch
from monai.data import DataLoader
from monai.engines import SupervisedTrainer
from torch import nn

from mtmedformer_monai.engines.prepare_batch import PrepareMultiTaskBatch
from mtmedformer_monai.losses.hybrid import HybridLoss
from mtmedformer_monai.tasks import ClassificationTask

NAMES = ("left", "right")


class TwoDecoders(nn.Module):
    """Maps (B, 3) to {task: logit (B, 1)}."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.decoders = nn.ModuleDict({name: nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 1)) for name in NAMES})

    def forward(self, image):
        features = self.norm(self.encoder(image))
        return {name: decoder(features) for name, decoder in self.decoders.items()}


class Items(torch.utils.data.Dataset):
    """Datalist items and their tensors."""

    def __init__(self, labels, seed=0):
        self.data = [{"image": f"{i}.png", "labels": each} for i, each in enumerate(labels)]
        self.images = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        labels = self.data[index]["labels"]
        targets = {name: torch.tensor(float(labels.get(name) == "yes" if name in labels else "nan")) for name in NAMES}
        return {"image": self.images[index], **targets}


def make_tasks():
    return [ClassificationTask(name, ["no", "yes"], "binary", dropout=0.0) for name in NAMES]


def make_trainer(labels, batch_size=4, handlers=(), optimizer=None, seed=0, **others):
    """Returns a stock trainer for items with these labels, such as [{'left': 'yes'}, {}]."""
    torch.manual_seed(seed)
    network, tasks = TwoDecoders(), make_tasks()
    make_optimizer = optimizer or (lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1))
    return SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=DataLoader(Items(labels, seed), batch_size=batch_size, shuffle=False),
        network=network,
        optimizer=make_optimizer(network.parameters()),
        loss_function=HybridLoss(tasks, normalize=False),
        prepare_batch=PrepareMultiTaskBatch(tasks),
        train_handlers=list(handlers),
        decollate=False,
        **others,
    )
