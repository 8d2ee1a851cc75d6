"""Entry point of the `mtmedformer` command. Heavy imports are deferred until a command runs."""

from __future__ import annotations

import argparse
import difflib
import logging
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from mtmedformer_monai import __version__
from mtmedformer_monai.data.synthetic.cohorts import COHORTS
from mtmedformer_monai.io.error_line import error_line, root_cause

from .bundle_folders import bundle_help, default_bundle
from .calibrate import add_calibrate_command
from .datalist import add_datalist_commands
from .export import add_export_command
from .federate import add_federate_commands
from .format_bundles import add_format_command
from .help_format import HelpFormatter
from .infer import add_infer_command
from .inspect import add_inspect_command
from .serve import add_serve_command

logger = logging.getLogger("mtmedformer")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code (2 for an error that the user can fix, 130 for Ctrl-C)."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    options = _parse(make_parser(), sys.argv[1:] if arguments is None else arguments)
    try:
        code: int = options.run(options) or 0
    except KeyboardInterrupt:
        if options.verbose:
            raise
        logger.error("interrupted; run the same command again for complete results.")
        return 130
    except Exception as error:
        if options.verbose:
            raise
        if isinstance(root_cause(error), (ValueError, OSError, KeyError)):
            logger.error("%s", error_line(error))
            return 2
        logger.error("%s%s", "".join(traceback.format_exception(error)), error_line(error))
        return 1
    return code


def _parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parses the arguments; an unknown option ends the program and suggests the closest option of the command."""
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        given = next((part.partition("=")[0] for part in unknown if part.startswith("-")), unknown[0])
        near = difflib.get_close_matches(given, list(_options_of(parser, arguments)), n=1)
        parser.error(f"unknown argument {given!r}; " + (f"did you mean {near[0]!r}?" if near else "see --help."))
    return options


def _options_of(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> Iterator[str]:
    """Yields the options of the command that the arguments specify."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for place, name in enumerate(arguments):
                if name in action.choices:
                    yield from _options_of(action.choices[name], arguments[place + 1 :])
                    break


def make_parser() -> argparse.ArgumentParser:
    """Builds the argument parser with all commands."""
    parser = argparse.ArgumentParser(
        prog="mtmedformer",
        description="Multi-task radiograph models as MONAI bundles.",
        epilog="Use --help with any command or tool for its options.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--verbose", action="store_true", help="show the full traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_cohort(commands)
    add_datalist_commands(commands)
    add_infer_command(commands)
    add_inspect_command(commands)
    add_calibrate_command(commands)
    add_export_command(commands)
    add_format_command(commands)
    add_federate_commands(commands)
    add_serve_command(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    description = (
        "run a bundle's pretrained weights on one DICOM file, then generate a cohort, train, evaluate and run inference"
    )
    command = commands.add_parser("demo", help=description, description=description, formatter_class=HelpFormatter)
    default = default_bundle()
    command.add_argument(
        "--bundle", metavar="FOLDER", type=Path, default=default, required=default is None, help=bundle_help()
    )
    command.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        help="output folder (default: demo_output/NAME, where NAME is the bundle's name)",
    )
    of_bundle = "(default: the value in the bundle's configs/demo.json)"
    command.add_argument(
        "--patients", metavar="N", type=int, default=0, help=f"number of patients in the cohort {of_bundle}"
    )
    command.add_argument("--epochs", metavar="N", type=int, default=0, help=f"number of training epochs {of_bundle}")
    command.add_argument(
        "--image-size",
        metavar="PIXELS",
        type=int,
        default=0,
        help="rows of the network's input; the DICOM files have twice as many (default: the bundle's value)",
    )
    command.add_argument("--seed", metavar="N", type=int, default=0, help="random seed of cohort and training")
    command.set_defaults(run=_run_demo)


def _run_demo(options: argparse.Namespace) -> int:
    from .demo import DemoRecipe, run_demo

    recipe = DemoRecipe(options.bundle, options.patients, options.epochs, options.image_size, options.seed)
    return run_demo(recipe, options.output or Path("demo_output") / options.bundle.resolve().name)


def _add_cohort(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    description = "generate a cohort of synthetic radiographs as DICOM files, with a datalist.json"
    command = commands.add_parser("cohort", help=description, description=description, formatter_class=HelpFormatter)
    command.add_argument("folder", metavar="FOLDER", type=Path, help="output folder")
    command.add_argument("--kind", choices=sorted(COHORTS), default=min(COHORTS), help="kind of radiographs")
    command.add_argument("--patients", metavar="N", type=int, default=300, help="number of patients, 8 or more")
    command.add_argument("--image-size", metavar="PIXELS", type=int, default=256, help="size of the images in pixels")
    command.add_argument("--seed", metavar="N", type=int, default=0, help="random seed")
    command.set_defaults(run=_run_cohort)


def _run_cohort(options: argparse.Namespace) -> int:
    from mtmedformer_monai.data.synthetic.cohorts import make_cohort

    path = make_cohort(options.kind, options.folder, options.patients, options.image_size, options.seed)
    logger.info("datalist: %s", path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
