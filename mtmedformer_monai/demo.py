"""The demo: a generated cohort, then the bundle's own training, evaluation and inference commands, then the figures."""

from __future__ import annotations

import json
import logging
import math
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtmedformer_monai.data import load_datalist, make_chest_cohort
from mtmedformer_monai.engines.run_summary import table

logger = logging.getLogger("mtmedformer")

DEFAULT_IMAGE_SIZE = 128
"""Side of the network's input in the bundles' configs."""


@dataclass(frozen=True)
class DemoRecipe:
    """What a bundle's demo does.

    Attributes:
        bundle: the bundle's folder.
        patients: of the cohort.
        epochs: of the training; 0 leaves it to `configs/demo.json`.
        image_size: side of the network's input; 0 leaves it to the bundle. The DICOM files are twice as wide.
        seed: of cohort and training.
    """

    bundle: Path
    patients: int = 400
    epochs: int = 0
    image_size: int = 0
    seed: int = 0


def run_demo(recipe: DemoRecipe, output: Path) -> int:
    """Runs all steps below `output`, and logs the metrics and where the pictures lie.

    Args:
        recipe: what to run.
        output: folder that is made; a training left there by an interrupted demo goes on where it stopped.

    Returns:
        0, or the exit code of the step that failed.

    Raises:
        FileNotFoundError: the folder is no bundle.
    """
    check_bundle(recipe.bundle)
    started = time.monotonic()
    output = output.resolve()
    datalist = _make_cohort(recipe, output / "data")
    for name, command in make_commands(recipe, output, datalist).items():
        logger.info("\n== %s ==\n%s", name, shlex.join(["python", *command[1:]]))
        code = subprocess.run(command, check=False).returncode
        if code != 0:
            logger.error("error: %s failed with exit code %d; see the lines above.", name, code)
            return code
    _report(output, time.monotonic() - started)
    return 0


def check_bundle(bundle: Path) -> None:
    """Checks that a folder is a bundle with a demo.

    Raises:
        FileNotFoundError: it is not.
    """
    for name in ("train.json", "evaluate.json", "inference.json", "demo.json"):
        if not (bundle / "configs" / name).is_file():
            raise FileNotFoundError(
                f"{bundle} has no configs/{name}; run from the repository's root, or name a bundle with --bundle."
            )


def make_commands(recipe: DemoRecipe, output: Path, datalist: Path) -> dict[str, list[str]]:
    """The commands that a user would type: {step: arguments of the Python interpreter}."""
    configs = recipe.bundle / "configs"
    common: dict[str, Any] = {
        "bundle_root": recipe.bundle,
        "meta_file": configs / "metadata.json",
        "logging_file": configs / "logging.conf",
        "output_dir": f"$'{output / 'training'}'",
    }
    if recipe.image_size:
        common["image_size"] = [recipe.image_size, recipe.image_size]
    trained = common | {"dataset_dir": datalist.parent, "ckpt_dir": output / "training/models", "seed": recipe.seed}
    if recipe.epochs:
        trained["max_epochs"] = recipe.epochs
    inferred = common | {
        "dataset_dir": output / "data",
        "ckpt_path": output / "training/models" / "model.pt",
        "output_dir": f"$'{output / 'inference'}'",
        "image": _first_image(datalist),
    }
    return {
        "Training": _bundle_run("training", [configs / "train.json", configs / "demo.json"], trained),
        "Evaluation on held-out patients": _bundle_run(
            "evaluating", [configs / "train.json", configs / "demo.json", configs / "evaluate.json"], trained
        ),
        "Inference on one DICOM file": _bundle_run(
            "evaluating", [configs / "inference.json", configs / "demo.json"], inferred
        ),
    }


def _bundle_run(run_id: str, configs: list[Path], overrides: Mapping[str, Any]) -> list[str]:
    files = str([str(config) for config in configs])
    flags = [part for name, value in overrides.items() for part in (f"--{name}", str(value))]
    return [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", files, *flags]


def _first_image(datalist: Path) -> str:
    """A pneumonia of the test list, or its first image."""
    items = load_datalist(datalist, "test")
    sick = [item for item in items if item.get("labels", {}).get("finding") == "pneumonia"]
    return str((sick or items)[0]["image"])


def _make_cohort(recipe: DemoRecipe, folder: Path) -> Path:
    datalist = folder / "datalist.json"
    if datalist.is_file():
        logger.info("== Cohort ==\n%s is there already.", datalist)
        return datalist
    logger.info("== Cohort ==\n%d patients as DX DICOM files in %s", recipe.patients, folder)
    columns = 2 * (recipe.image_size or DEFAULT_IMAGE_SIZE)
    return make_chest_cohort(folder, num_patients=recipe.patients, image_size=columns, seed=recipe.seed)


def _report(output: Path, seconds: float) -> None:
    figures = json.loads((output / "training/evaluation/metrics.json").read_text())
    tasks = [name.removesuffix("_cases") for name in figures if name.endswith("_cases")]
    known = {name: math.nan if value is None else value for name, value in figures.items()}
    shown = [path for part in ("training", "inference") for path in sorted((output / part).rglob("*.png"))]
    shown = [path for path in shown if "mlruns" not in path.parts]
    logger.info("\n== Metrics on held-out patients ==\n%s", table(known, tasks))
    logger.info("\n== Pictures ==\n%s", "\n".join(f"  {picture}" for picture in shown))
    logger.info("\nDone in %.0f seconds. Everything lies in %s", seconds, output)
