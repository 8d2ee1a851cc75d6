"""The `mtmedformer datalist complete` command: masks that images lack, predicted by trained networks."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .bundle_folders import bundle_help, default_bundle, read_tasks
from .run_configs import run_configs
from .trusted_bundles import add_trust_option, require_trust

CONFIGS = ("inference", "complete")


def add_options(tool: argparse.ArgumentParser, output_help: str) -> None:
    """Adds the command's options to its parser."""
    default = default_bundle()
    tool.add_argument("datalist", metavar="DATALIST", type=Path, help="datalist to complete (JSON)")
    tool.add_argument("output", metavar="OUTPUT", type=Path, help=output_help)
    tool.add_argument(
        "--bundle", metavar="FOLDER", type=Path, default=default, required=default is None, help=bundle_help()
    )
    tool.add_argument(
        "--ckpt",
        metavar="FILE",
        type=Path,
        nargs="+",
        required=True,
        help="weights of one or more networks; each predicts the masks of its tasks that are still missing",
    )
    tool.add_argument("--tasks", metavar="TASK", nargs="+", default=[], help="complete only the masks of these tasks")
    tool.add_argument("--section", metavar="NAME", default="training", help="list of the datalist to complete")
    add_trust_option(tool)
    tool.set_defaults(run=complete)


def complete(options: argparse.Namespace) -> int:
    """Runs the bundle's config once for each file of weights."""
    from mtmedformer_monai.data.rebase import datalist_path

    output = datalist_path(options.output)
    configs = [options.bundle / "configs" / f"{name}.json" for name in CONFIGS]
    for path in (*configs, options.datalist, *options.ckpt):
        if not path.is_file():
            raise FileNotFoundError(f"no file at {path}; specify a bundle with --bundle, weights with --ckpt.")
    if output.resolve() == options.datalist.resolve():
        raise ValueError(f"OUTPUT is the datalist {options.datalist} itself; choose another file, so that it is kept.")
    require_trust(options, configs)
    source = options.datalist
    for weights in options.ckpt:
        run_configs(options.bundle, configs, overrides_of(options, weights, source, output), "inference")
        source = output
    return 0


def overrides_of(options: argparse.Namespace, weights: Path, source: Path, output: Path) -> dict[str, Any]:
    """Returns the overrides of the bundle's config; tasks and image size are those of the weights.

    Raises:
        ValueError: the weights have no model card, or none of the wanted tasks.
    """
    card = weights.with_suffix(".json")
    if not card.is_file():
        raise ValueError(f"{weights} has no model card {card.name} beside it; copy both files of the training.")
    model = json.loads(card.read_text(encoding="utf-8"))
    names = [task["name"] for task in model["tasks"]]
    only = [name for name in names if name in options.tasks]
    if options.tasks and not only:
        raise ValueError(f"{weights} has the tasks {names}, none of --tasks {options.tasks}; leave out one of them.")
    return {
        "datalist": str(source),
        "completed_dir": str(output),
        "completed_list": options.section,
        "ckpt_path": str(weights),
        "tasks": [task for task in read_tasks(options.bundle) if task["name"] in names],
        "image_size": model["image_size"],
        "only": only,
    }
