"""A minimal stock MONAI bundle: BasicUNet with batch norm and dropout, Dice loss, random transforms, a schedule."""

from __future__ import annotations

import json

TRAIN = {
    "bundle_root": ".",
    "dataset_dir": ".",
    "device": "$torch.device('cpu')",
    "seed": 0,
    "images": "$torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(@seed))",
    "network_def": {
        "_target_": "BasicUNet",
        "spatial_dims": 2,
        "in_channels": 1,
        "out_channels": 1,
        "features": [4, 4, 4, 4, 4, 4],
        "norm": "batch",
        "dropout": 0.2,
    },
    "network": "$@network_def.to(@device)",
    "loss": {"_target_": "DiceLoss", "sigmoid": True},
    "optimizer": {"_target_": "torch.optim.AdamW", "params": "$@network.parameters()", "lr": 0.01},
    "lr_scheduler": {"_target_": "torch.optim.lr_scheduler.ExponentialLR", "optimizer": "@optimizer", "gamma": 0.5},
    "train": {
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': image, 'label': (image > 0.5).float()} for image in @images]",
            "transform": {"_target_": "RandGaussianNoised", "keys": "image", "prob": 0.9, "std": 0.3},
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@train#dataset", "batch_size": 3, "shuffle": True},
        "inferer": {"_target_": "SimpleInferer"},
        "handlers": [{"_target_": "LrScheduleHandler", "lr_scheduler": "@lr_scheduler", "print_lr": False}],
        "trainer": {
            "_target_": "SupervisedTrainer",
            "max_epochs": 1,
            "device": "@device",
            "train_data_loader": "@train#dataloader",
            "network": "@network",
            "loss_function": "@loss",
            "optimizer": "@optimizer",
            "inferer": "@train#inferer",
            "train_handlers": "@train#handlers",
        },
    },
    "validate": {
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': image, 'label': (image > 0.5).float()} for image in @images]",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@validate#dataset", "batch_size": 3},
        "inferer": {"_target_": "SimpleInferer"},
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@validate#dataloader",
            "network": "@network",
            "inferer": "@validate#inferer",
            "postprocessing": {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.0},
            "key_val_metric": {
                "val_dice": {
                    "_target_": "MeanDice",
                    "output_transform": "$monai.handlers.from_engine(['pred', 'label'])",
                }
            },
        },
    },
}


def write_bundle(folder, config=TRAIN):
    """Writes the bundle, or one with another config; returns its root as text."""
    (folder / "configs").mkdir(parents=True)
    (folder / "configs/train.json").write_text(json.dumps(config))
    return str(folder)
