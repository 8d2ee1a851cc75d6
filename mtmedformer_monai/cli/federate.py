"""The commands `mtmedformer federate ...`: thin, with imports only where a command needs them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

UNLIKE = ("nothing", "scanner", "labels", "tasks")


def add_federate_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `federate simulate` to the command line."""
    group = commands.add_parser("federate", help="federated learning on one machine")
    tools = group.add_subparsers(required=True, metavar="TOOL")
    tool = tools.add_parser(
        "simulate",
        help="train a bundle at several simulated sites, and compare",
        description="Deals a cohort to sites, trains them in processes of their own, and aggregates round by round. "
        "Given again, the command goes on where it was stopped.",
    )
    _add_federation(tool)
    _add_data(tool)
    tool.set_defaults(run=_simulate)


def _add_federation(tool: argparse.ArgumentParser) -> None:
    tool.add_argument("--bundle", type=Path, default=Path("bundles/chest_xray_multitask"))
    tool.add_argument("--output", type=Path, default=None, help="default: federation_output/ and the bundle's name")
    tool.add_argument("--sites", type=int, default=3)
    tool.add_argument("--rounds", type=int, default=5)
    tool.add_argument("--local-epochs", type=int, default=4, help="of a site in a round")
    tool.add_argument("--strategy", default="pvi", help="a wrong name lists them")
    tool.add_argument(
        "--setting", action="append", default=[], metavar="NAME=VALUE", help="of the strategy; may be repeated"
    )
    tool.add_argument(
        "--baselines",
        nargs="*",
        default=["fedavg", "local", "pooled"],
        help="strategies, `local` (no exchange) and `pooled` (all images at one site), from the same weights",
    )
    tool.add_argument("--processes", type=int, default=2, help="site processes at a time, about 1.5 GB each")
    tool.add_argument("--seed", type=int, default=0)
    tool.add_argument(
        "--override", action="append", default=[], metavar="ID=VALUE", help="of the bundle's config, at all sites"
    )


def _add_data(tool: argparse.ArgumentParser) -> None:
    tool.add_argument("--partition", choices=UNLIKE, default="scanner", help="what the sites differ in")
    tool.add_argument("--datalist", type=Path, default=None, help="to deal to the sites; default a generated cohort")
    tool.add_argument("--patients", type=int, default=180, help="of the generated cohort")
    tool.add_argument("--image-size", type=int, default=64, help="rows of the network's input")


def _simulate(options: argparse.Namespace) -> int:
    from mtmedformer_monai.federated.simulation import SimulationSettings, compare

    bundle = options.bundle.resolve()
    output = options.output or Path("federation_output") / bundle.name
    settings = SimulationSettings(
        bundle=bundle,
        output=output.resolve(),
        num_sites=options.sites,
        num_rounds=options.rounds,
        local_epochs=options.local_epochs,
        strategy=options.strategy,
        strategy_settings=parse_pairs(options.setting, "--setting"),
        unlike=options.unlike,
        datalist=options.datalist,
        patients=options.patients,
        image_size=options.image_size,
        seed=options.seed,
        num_processes=options.processes,
        overrides=parse_pairs(options.override, "--override"),
    )
    compare(settings, options.baselines)
    return 0


def parse_pairs(pairs: Sequence[str], option: str) -> dict[str, Any]:
    """`NAME=VALUE` to {name: value}; values are JSON where they can be, else text.

    Raises:
        ValueError: no equals sign.

    Example:
        >>> parse_pairs(["isotropic=0.03", "name=x"], "--setting")
        {'isotropic': 0.03, 'name': 'x'}
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{option} expects NAME=VALUE, got {pair!r}.")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found
