"""The demo's first step: inference with a bundle's pretrained weights on one synthetic DICOM file."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtmedformer_monai.data import load_datalist
from mtmedformer_monai.data.synthetic.cohorts import make_cohort
from mtmedformer_monai.io.config_text import config_text
from mtmedformer_monai.keys import BOXES, IMAGE

from .bundle_commands import bundle_run, run_step

logger = logging.getLogger("mtmedformer")

_FEWEST_PATIENTS = 8  # the smallest cohort that can be generated, although only one image is used


def show_first_result(bundle: Path, folder: Path, kind: str, rows: int, seed: int) -> int:
    """Runs inference with the pretrained weights on one DICOM file, and logs the findings and the overlay's path.

    Args:
        bundle: the bundle's folder.
        folder: output folder; an existing image in it is reused.
        kind: kind of the cohort from which the image is taken, see `make_cohort`.
        rows: image height in pixels.
        seed: random seed of the cohort.

    Returns:
        Exit code of the inference command.
    """
    started = time.monotonic()
    data = folder / "data"
    if not (data / "datalist.json").is_file():
        make_cohort(kind, data, _FEWEST_PATIENTS, rows, seed)
    command = make_first_command(bundle, first_image(data / "datalist.json"), folder)
    code = run_step("Pretrained weights on one DICOM file", command)
    if code == 0:
        logger.info("\n== First result, after %.0f seconds ==", time.monotonic() - started)
        for line in describe_results(folder):
            logger.info("%s", line)
        logger.info("See the model card for the data behind these weights. For research, not for clinical use.")
    return code


def make_first_command(bundle: Path, image: str, folder: Path) -> list[str]:
    """Returns the command that runs inference with a bundle's own weights."""
    overrides = {"bundle_root": config_text(bundle), "image": config_text(image), "output_dir": config_text(folder)}
    return bundle_run("evaluating", [bundle / "configs/inference.json"], overrides)


def first_image(datalist: Path) -> str:
    """Returns the first test image that has a box, or else the first test image."""
    items = load_datalist(datalist, "test")
    boxed = [item for item in items if any(item.get(BOXES, {}).values())]
    return str((boxed or items)[0][IMAGE])


def describe_results(folder: Path) -> list[str]:
    """Summarizes the result files in a folder: one line per task, and the paths of the overlays."""
    lines = []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        findings = content.get("findings", {}) if isinstance(content, dict) else {}
        lines += [f"  {task:<16}  {_describe(finding)}" for task, finding in findings.items()]
    return lines + [f"  picture: {picture}" for picture in sorted(folder.glob("*overlay*.png"))]


def _describe(finding: Mapping[str, Any]) -> str:
    if "probs" in finding:
        return "  ".join(f"{name} {probability:.2f}" for name, probability in finding["probs"].items())
    if "area_fraction" in finding:
        shares = finding["area_fraction"].items()
        return "  ".join(f"{name} {100 * share:.1f} % of the image" for name, share in shares)
    if "boxes" in finding:
        best = max((box["score"] for box in finding["boxes"]), default=None)
        return f"{len(finding['boxes'])} boxes" + (f", highest score {best:.2f}" if best is not None else "")
    return json.dumps(finding)
