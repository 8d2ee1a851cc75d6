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
from importlib import import_module
from pathlib import Path
from typing import Any

from mtmedformer_monai.data import load_datalist
from mtmedformer_monai.data.synthetic.cohorts import make_cohort
from mtmedformer_monai.engines.handlers.run_summary import table
from mtmedformer_monai.keys import BOXES, IMAGE

logger = logging.getLogger("mtmedformer")


@dataclass(frozen=True)
class DemoRecipe:
    """What a bundle's demo does.

    Attributes:
        bundle: the bundle's folder.
        patients: of the cohort; 0 leaves it to `configs/demo.json`.
        epochs: of the training; 0 leaves it to `configs/demo.json`.
        image_size: rows of the network's input; 0 leaves it to the bundle. The DICOM files have twice as many.
        seed: of cohort and training.
    """

    bundle: Path
    patients: int = 0
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
        if code < 0:
            logger.error("error: %s was ended by signal %d; run the same command again to resume.", name, -code)
        if code != 0:  # its own last line says why, and what to do
            return abs(code)
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
        common["image_size"] = _image_size(recipe)
    trained = common | {"dataset_dir": datalist.parent, "ckpt_dir": output / "training/models", "seed": recipe.seed}
    if recipe.epochs:
        trained["max_epochs"] = recipe.epochs
    inferred = common | {
        "dataset_dir": output / "data",
        "ckpt_path": output / "training/models" / "model.pt",
        "output_dir": f"$'{output / 'inference'}'",
    }
    images = {"one DICOM file": _first_image(datalist)} | _real_images(recipe)
    return {
        "Training": _bundle_run("training", [configs / "train.json", configs / "demo.json"], trained),
        "Evaluation on held-out patients": _bundle_run(
            "evaluating", [configs / "train.json", configs / "demo.json", configs / "evaluate.json"], trained
        ),
    } | {
        f"Inference on {name}": _bundle_run(
            "evaluating", [configs / "inference.json", configs / "demo.json"], inferred | {"image": image}
        )
        for name, image in images.items()
    }


def _bundle_run(run_id: str, configs: list[Path], overrides: Mapping[str, Any]) -> list[str]:
    files = str([str(config) for config in configs])
    flags = [part for name, value in overrides.items() for part in (f"--{name}", str(value))]
    return [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", files, *flags]


def _first_image(datalist: Path) -> str:
    """The first image of the test list with a box on it, or its first."""
    items = load_datalist(datalist, "test")
    boxed = [item for item in items if any(item.get(BOXES, {}).values())]
    return str((boxed or items)[0][IMAGE])


def _real_images(recipe: DemoRecipe) -> dict[str, str]:
    """A real image that a package of the registry ships, where the bundle's demo names one."""
    package = _demo_config(recipe).get("real_images")
    if package is None:
        return {}
    try:
        path = next(iter(import_module(package).gen_cases()))
    except ImportError:
        logger.warning("The package %r is not installed; `pip install %s` shows a real image too.", package, package)
        return {}
    return {"a real mammogram": str(next(iter(path.values())))}


def _demo_config(recipe: DemoRecipe) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((recipe.bundle / "configs/demo.json").read_text())
    return config


def _image_size(recipe: DemoRecipe) -> list[int]:
    """Rows and columns of the network's input, in the bundle's aspect."""
    rows, columns = json.loads((recipe.bundle / "configs/train.json").read_text())["image_size"]
    chosen = recipe.image_size or rows
    return [chosen, round(chosen * columns / rows)]


def _make_cohort(recipe: DemoRecipe, folder: Path) -> Path:
    datalist = folder / "datalist.json"
    if datalist.is_file():
        logger.info("== Cohort ==\n%s is there already.", datalist)
        return datalist
    cohort = _demo_config(recipe)["cohort"]
    patients = recipe.patients or cohort["patients"]
    logger.info("== Cohort ==\n%d patients as DICOM files in %s", patients, folder)
    return make_cohort(cohort["kind"], folder, patients, 2 * _image_size(recipe)[0], recipe.seed)


def _report(output: Path, seconds: float) -> None:
    figures = json.loads((output / "training/evaluation/metrics.json").read_text())
    tasks = [name.removesuffix("_cases") for name in figures if name.endswith("_cases")]
    known = {name: math.nan if value is None else value for name, value in figures.items()}
    shown = [path for part in ("training", "inference") for path in sorted((output / part).rglob("*.png"))]
    shown = [path for path in shown if "mlruns" not in path.parts]
    logger.info("\n== Metrics on held-out patients ==\n%s", table(known, tasks))
    logger.info("\n== Pictures ==\n%s", "\n".join(f"  {picture}" for picture in shown))
    logger.info("\nDone in %.0f seconds. Everything lies in %s", seconds, output)
