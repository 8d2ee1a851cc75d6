"""The `mtmedformer calibrate` command: fits calibration, operating points and guard of trained weights."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .bundle_folders import bundle_help, default_bundle
from .help_format import HelpFormatter
from .run_configs import run_configs
from .trusted_bundles import add_trust_option, require_trust

CONFIGS = ("train", "calibrate")


def add_calibrate_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `calibrate` to the command line."""
    description = (
        "fit temperatures, operating thresholds and the out-of-distribution guard on validation data, and write "
        "calibration.json and guard.pt beside the weights"
    )
    command = commands.add_parser("calibrate", help=description, description=description, formatter_class=HelpFormatter)
    default = default_bundle()
    command.add_argument(
        "--bundle", metavar="FOLDER", type=Path, default=default, required=default is None, help=bundle_help()
    )
    command.add_argument(
        "--datalist", metavar="FILE", type=Path, required=True, help="datalist with a training and a validation list"
    )
    command.add_argument(
        "--ckpt", metavar="FILE", type=Path, help="weights to calibrate (default: the bundle's models/model.pt)"
    )
    command.add_argument(
        "--section",
        metavar="NAME",
        default="validation",
        help="list of the datalist to fit on; its images must not have been trained on",
    )
    command.add_argument(
        "--sensitivity",
        metavar="FRACTION",
        type=float,
        nargs="+",
        default=[0.9, 0.95],
        help="target sensitivities of the operating points",
    )
    command.add_argument(
        "--false-alarm-rate",
        metavar="FRACTION",
        type=float,
        default=0.05,
        help="share of good images that the guard flags",
    )
    command.add_argument("--no-guard", action="store_true", help="do not fit the guard; training images are not read")
    command.add_argument("--batch-size", metavar="N", type=int, default=16, help="images per batch")
    add_trust_option(command)
    command.set_defaults(run=_calibrate)


def _calibrate(options: argparse.Namespace) -> int:
    weights = options.ckpt or options.bundle / "models" / "model.pt"
    configs = [options.bundle / "configs" / f"{name}.json" for name in CONFIGS]
    for path in (*configs, options.datalist, weights):
        if not path.is_file():
            raise FileNotFoundError(
                f"no file at {path}; specify a bundle with --bundle, a datalist with --datalist, weights with --ckpt."
            )
    require_trust(options, configs)
    run_configs(options.bundle, configs, _overrides(options, weights), "train")
    return 0


def _overrides(options: argparse.Namespace, weights: Path) -> dict[str, Any]:
    """Returns the overrides of the bundle's config; the image size is that of the weights."""
    card = weights.with_suffix(".json")
    size = json.loads(card.read_text(encoding="utf-8")).get("image_size") if card.is_file() else None
    return {
        "dataset_dir": str(options.datalist.parent),
        "datalist": str(options.datalist),
        "ckpt_dir": str(weights.parent),
        "ckpt_path": str(weights),
        "calibrated_list": options.section,
        "sensitivities": options.sensitivity,
        "false_alarm_rate": options.false_alarm_rate,
        "fit_guard": not options.no_guard,
        "batch_size": options.batch_size,
        **({"image_size": size} if size else {}),
    }
