"""The demo: a first result with the pretrained weights, then a bundle's own commands on a synthetic cohort."""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from mtmedformer_monai.data.synthetic.cohorts import make_cohort
from mtmedformer_monai.engines.handlers.run_summary import table
from mtmedformer_monai.io.config_text import config_text

from .bundle_commands import bundle_run, run_step
from .first_result import first_image, show_first_result

logger = logging.getLogger("mtmedformer")


@dataclass(frozen=True)
class DemoRecipe:
    """Settings of a bundle's demo.

    Attributes:
        bundle: the bundle's folder.
        patients: number of patients in the cohort; 0 uses the value in `configs/demo.json`.
        epochs: number of training epochs; 0 uses the value in `configs/demo.json`.
        image_size: rows of the network's input; 0 uses the bundle's value. The DICOM files have twice as many rows.
        seed: random seed of cohort and training.
    """

    bundle: Path
    patients: int = 0
    epochs: int = 0
    image_size: int = 0
    seed: int = 0


def run_demo(recipe: DemoRecipe, output: Path) -> int:
    """Runs all steps in the folder `output`, and logs the metrics and the paths of the pictures.

    First, the pretrained weights are applied to one synthetic DICOM file, so that there is a result within a minute.
    Then a cohort is generated, and a network is trained on it from scratch, evaluated, and run on images.

    Args:
        recipe: settings of the demo.
        output: output folder, created if it does not exist. Run the same demo again to resume an interrupted
            training.

    Returns:
        0, or the exit code of the step that failed.

    Raises:
        FileNotFoundError: the folder is not a bundle with a demo.
    """
    check_bundle(recipe.bundle)
    started = time.monotonic()
    output = output.resolve()
    cohort, (rows, _) = _demo_config(recipe)["cohort"], _bundle_image_size(recipe)
    kind = cohort.get("first_image", cohort["kind"])  # the pretrained weights know more kinds than the demo trains on
    code = show_first_result(recipe.bundle, output / "first_result", kind, 2 * rows, recipe.seed)
    if code != 0:
        return code
    datalist = _make_cohort(recipe, output / "data")
    for name, command in make_commands(recipe, output, datalist).items():
        code = run_step(name, command)
        if code != 0:
            return code
    _report(output, time.monotonic() - started)
    return 0


def check_bundle(bundle: Path) -> None:
    """Checks that a folder is a bundle with a demo.

    Raises:
        FileNotFoundError: a config is missing.
    """
    for name in ("train.json", "evaluate.json", "inference.json", "demo.json"):
        if not (bundle / "configs" / name).is_file():
            raise FileNotFoundError(
                f"{bundle} has no configs/{name}; run from the repository root, or specify a bundle with --bundle."
            )


def make_commands(recipe: DemoRecipe, output: Path, datalist: Path) -> dict[str, list[str]]:
    """Returns the commands as a user would type them: {name of the step: argument list}."""
    configs = recipe.bundle / "configs"
    common: dict[str, Any] = {
        "bundle_root": config_text(recipe.bundle),
        "output_dir": config_text(output / "training"),
    }
    if recipe.image_size:
        common["image_size"] = _image_size(recipe)
    trained = common | {
        "dataset_dir": config_text(datalist.parent),
        "ckpt_dir": config_text(output / "training/models"),
        "seed": recipe.seed,
    }
    if recipe.epochs:
        trained["max_epochs"] = recipe.epochs
    inferred = common | {
        "dataset_dir": config_text(output / "data"),
        "ckpt_path": config_text(output / "training/models/model.pt"),
        "output_dir": config_text(output / "inference"),
    }
    images = {"one DICOM file": first_image(datalist)} | _real_images(recipe)
    return {
        "Training": bundle_run("training", [configs / "train.json", configs / "demo.json"], trained),
        "Evaluation on held-out patients": bundle_run(
            "evaluating", [configs / "train.json", configs / "demo.json", configs / "evaluate.json"], trained
        ),
    } | {
        f"Inference on {name}": bundle_run(
            "evaluating", [configs / "inference.json", configs / "demo.json"], inferred | {"image": config_text(image)}
        )
        for name, image in images.items()
    }


def _real_images(recipe: DemoRecipe) -> dict[str, str]:
    """Returns a real image from an installed Python package, if the bundle's demo config specifies one."""
    package = _demo_config(recipe).get("real_images")
    if package is None:
        return {}
    try:
        path = next(iter(import_module(package).gen_cases()))
    except ImportError:
        logger.warning(
            "The package %r is not installed; run `pip install %s` to include a real image.", package, package
        )
        return {}
    return {"a real mammogram": str(next(iter(path.values())))}


def _demo_config(recipe: DemoRecipe) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((recipe.bundle / "configs/demo.json").read_text())
    return config


def _image_size(recipe: DemoRecipe) -> list[int]:
    """Returns rows and columns of the network's input, in the bundle's aspect ratio."""
    rows, columns = _bundle_image_size(recipe)
    chosen = recipe.image_size or rows
    return [chosen, round(chosen * columns / rows)]


def _bundle_image_size(recipe: DemoRecipe) -> list[int]:
    size: list[int] = json.loads((recipe.bundle / "configs/train.json").read_text())["image_size"]
    return size


def _make_cohort(recipe: DemoRecipe, folder: Path) -> Path:
    datalist = folder / "datalist.json"
    if datalist.is_file():
        logger.info("== Cohort ==\n%s already exists.", datalist)
        return datalist
    cohort = _demo_config(recipe)["cohort"]
    patients = recipe.patients or cohort["patients"]
    logger.info("== Cohort ==\n%d patients as DICOM files in %s", patients, folder)
    return make_cohort(cohort["kind"], folder, patients, 2 * _image_size(recipe)[0], recipe.seed)


def _report(output: Path, seconds: float) -> None:
    metrics = json.loads((output / "training/evaluation/metrics.json").read_text())
    tasks = [name.removesuffix("_cases") for name in metrics if name.endswith("_cases")]
    known = {name: math.nan if value is None else value for name, value in metrics.items()}
    shown = [path for part in ("training", "inference") for path in sorted((output / part).rglob("*.png"))]
    shown = [path for path in shown if "mlruns" not in path.parts]
    logger.info("\n== Metrics on held-out patients ==\n%s", table(known, tasks))
    logger.info("\n== Pictures ==\n%s", "\n".join(f"  {picture}" for picture in shown))
    logger.info("\nDone in %.0f seconds. All files are in %s", seconds, output)
