"""Training and evaluation of bundles, shared by the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

BUNDLES = Path(__file__).parents[1] / "bundles"
CHEST = BUNDLES / "chest_xray_multitask"
MAMMOGRAPHY = BUNDLES / "mammography_multitask"

Metrics = dict[str, float | None]


def make_workflow(bundle: Path, configs: list[str], overrides: dict[str, Any]) -> ConfigWorkflow:
    """Returns an initialized workflow of a bundle with some overrides.

    Args:
        bundle: its folder.
        configs: names of config files; later files take precedence.
        overrides: {id: value}.
    """
    workflow = ConfigWorkflow(
        config_file=[str(bundle / f"configs/{name}.json") for name in configs],
        meta_file=str(bundle / "configs/metadata.json"),
        logging_file=False,
        workflow_type="train",
        bundle_root=str(bundle),
        **overrides,
    )
    workflow.initialize()
    return workflow


def evaluate(bundle: Path, configs: list[str], overrides: dict[str, Any], folder: Path) -> Metrics:
    """Evaluates a trained bundle on its test list and returns its metrics.

    Args:
        bundle: its folder.
        configs: those of the training.
        overrides: those of the training.
        folder: for the files of the evaluation.
    """
    make_workflow(bundle, [*configs, "evaluate"], overrides | {"evaluation_dir": str(folder)}).run()
    metrics: Metrics = json.loads((folder / "metrics.json").read_text())
    return metrics


def read_tasks(bundle: Path) -> list[dict[str, Any]]:
    """Returns the tasks in a bundle's config."""
    tasks: list[dict[str, Any]] = json.loads((bundle / "configs/train.json").read_text())["tasks"]
    return tasks


def training_overrides(data: Path, folder: str, size: int, epochs: int, seed: int, val_interval: int) -> dict[str, Any]:
    """Returns the overrides of a short training of the chest bundle.

    Args:
        data: folder with datalist.json.
        folder: for the outputs and weights.
        size: rows and columns of the network's input.
        epochs: number of epochs, the first of which is a warmup.
        seed: of the training.
        val_interval: number of epochs between validations.
    """
    return {
        "dataset_dir": str(data),
        "output_dir": folder,
        "ckpt_dir": f"{folder}/models",
        "image_size": [size, size],
        "max_epochs": epochs,
        "warmup_epochs": 1,
        "val_interval": val_interval,
        "seed": seed,
    }
