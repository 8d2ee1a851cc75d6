"""What benchmarks that train bundles share."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

BUNDLES = Path(__file__).parents[1] / "bundles"
CHEST = BUNDLES / "chest_xray_multitask"
MAMMOGRAPHY = BUNDLES / "mammography_multitask"

Metrics = dict[str, float | None]


def make_workflow(bundle: Path, configs: list[str], overrides: dict[str, Any]) -> ConfigWorkflow:
    """The bundle with some values overridden, ready to run.

    Args:
        bundle: its folder.
        configs: names of config files, the later wins.
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
    """Evaluates a trained bundle on its test list; its figures.

    Args:
        bundle: its folder.
        configs: those of the training.
        overrides: those of the training.
        folder: where the evaluation's files go.
    """
    make_workflow(bundle, [*configs, "evaluate"], overrides | {"evaluation_dir": str(folder)}).run()
    figures: Metrics = json.loads((folder / "metrics.json").read_text())
    return figures


def read_tasks(bundle: Path) -> list[dict[str, Any]]:
    """The tasks of a bundle's config."""
    tasks: list[dict[str, Any]] = json.loads((bundle / "configs/train.json").read_text())["tasks"]
    return tasks


def spread(values: Sequence[float | None]) -> str:
    """Mean, and the standard deviation where there are several; a dash where nothing is known."""
    known = [value for value in values if value is not None and value == value]
    if not known:
        return "-"
    return f"{statistics.fmean(known):.3f}" + (f" ± {statistics.stdev(known):.3f}" if len(known) > 1 else "")
