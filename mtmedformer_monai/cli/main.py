"""The command `mtmedformer`: thin, with imports only where a command needs them."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from mtmedformer_monai import __version__

from .datalist import add_datalist_commands
from .federate import add_federate_commands

logger = logging.getLogger("mtmedformer")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code (2 for an error that the user can mend)."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    options = make_parser().parse_args(arguments)
    try:
        code: int = options.run(options) or 0
    except (ValueError, OSError, KeyError) as error:
        if options.verbose:
            raise
        logger.error("error: %s", error.args[0] if isinstance(error, KeyError) else error)
        return 2
    return code


def make_parser() -> argparse.ArgumentParser:
    """Builds the parser of all commands."""
    parser = argparse.ArgumentParser(prog="mtmedformer", description="Multi-task radiograph models as MONAI bundles.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--verbose", action="store_true", help="show the whole trace of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_cohort(commands)
    add_datalist_commands(commands)
    add_federate_commands(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("demo", help="cohort, training, evaluation and inference of a bundle, end to end")
    command.add_argument("--bundle", type=Path, default=Path("bundles/chest_xray_multitask"))
    command.add_argument("--output", type=Path, default=None, help="demo_output/ and the bundle's name where left out")
    command.add_argument("--patients", type=int, default=0, help="0: as the bundle's configs/demo.json says")
    command.add_argument("--epochs", type=int, default=0, help="0: as the bundle's configs/demo.json says")
    command.add_argument("--image-size", type=int, default=0, help="rows; 0: as the bundle's configs say")
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=_run_demo)


def _run_demo(options: argparse.Namespace) -> int:
    from .demo import DemoRecipe, run_demo

    recipe = DemoRecipe(options.bundle, options.patients, options.epochs, options.image_size, options.seed)
    return run_demo(recipe, options.output or Path("demo_output") / options.bundle.resolve().name)


def _add_cohort(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("cohort", help="make a cohort of synthetic radiographs as DICOM files")
    command.add_argument("folder", type=Path)
    command.add_argument("--kind", choices=["chest", "mammography"], default="chest")
    command.add_argument("--patients", type=int, default=300)
    command.add_argument("--image-size", type=int, default=256)
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=_run_cohort)


def _run_cohort(options: argparse.Namespace) -> int:
    from mtmedformer_monai.data.synthetic.cohorts import make_cohort

    path = make_cohort(options.kind, options.folder, options.patients, options.image_size, options.seed)
    logger.info("datalist: %s", path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
