"""The `mtmedformer federate` commands. Heavy imports are deferred until a command runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtmedformer_monai.federated.choices import PARTITIONS, SPLIT_SYSTEMS, STARTS, STRATEGIES

from .bundle_folders import bundle_help, default_bundle
from .federate_flare import add_flare_command
from .federate_join import add_join_command
from .help_format import HelpFormatter

STRATEGY_NAMES = (*STRATEGIES, *SPLIT_SYSTEMS)
"""Names of the aggregation strategies and the split-learning baselines."""

POOLED = "pooled"


def add_federate_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `federate simulate`, `federate flare` and `federate join` to the command line."""
    group = commands.add_parser("federate", help="federated learning, simulated or with NVIDIA FLARE")
    tools = group.add_subparsers(required=True, metavar="TOOL")
    tool = tools.add_parser(
        "simulate",
        help="train a bundle at several simulated sites and compare strategies",
        description="Partitions a cohort across sites, trains the sites in separate processes, and aggregates their "
        "updates after each round. Run the same command again to resume.",
        formatter_class=HelpFormatter,
    )
    _add_federation(tool)
    _add_data(tool)
    tool.set_defaults(run=_simulate)
    add_flare_command(tools)
    add_join_command(tools)


def _add_federation(tool: argparse.ArgumentParser) -> None:
    bundle = default_bundle()
    tool.add_argument(
        "--bundle", metavar="FOLDER", type=Path, default=bundle, required=bundle is None, help=bundle_help()
    )
    tool.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        help="output folder (default: federation_output/NAME, where NAME is the bundle's name)",
    )
    tool.add_argument(
        "--sites",
        default="3",
        metavar="N|FILE",
        help="number of sites, or YAML file that lists sites with their own data",
    )
    tool.add_argument("--rounds", type=int, metavar="N", default=5, help="number of rounds")
    tool.add_argument("--local-epochs", type=int, metavar="N", default=4, help="epochs per site and round")
    tool.add_argument(
        "--strategy", choices=STRATEGY_NAMES, metavar="NAME", default="bayesian", help=_listed(STRATEGY_NAMES)
    )
    tool.add_argument(
        "--setting",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="setting of the strategy, such as isotropic=0.01 or compress=float16; may be repeated",
    )
    tool.add_argument(
        "--baselines",
        nargs="*",
        choices=(*STRATEGY_NAMES, POOLED),
        metavar="NAME",
        default=["fedavg", "local", POOLED],
        help="baselines trained from the same initial weights: any strategy, 'local' (no aggregation) or 'pooled' (all "
        "images at one site)",
    )
    tool.add_argument(
        "--start",
        choices=STARTS,
        default="common",
        help="weights from which the sites start: common initial weights (common); their own, trained alone before and "
        "aligned when they join (own); or those of the site with the most images (largest)",
    )
    tool.add_argument(
        "--pretrain-epochs",
        type=int,
        metavar="N",
        default=4,
        help="epochs that each site trains alone first, with --start own or largest",
    )
    tool.add_argument(
        "--processes",
        type=int,
        metavar="N",
        default=2,
        help="number of sites trained in parallel, about 1.5 GB of memory each",
    )
    tool.add_argument("--seed", type=int, metavar="N", default=0, help="random seed of cohort, partition and training")
    tool.add_argument(
        "--posterior",
        action="store_true",
        help="also write posterior.pt, with a temperature fitted on the sites' validation images; model.pt is then not "
        "distilled from the groups' networks, unless a setting asks for it",
    )
    tool.add_argument(
        "--override",
        action="append",
        default=[],
        metavar="ID=VALUE",
        help="override a value of the bundle's config at all sites; may be repeated",
    )


def _add_data(tool: argparse.ArgumentParser) -> None:
    tool.add_argument(
        "--partition",
        choices=PARTITIONS,
        default="site",
        help="how the cohort is partitioned: at random (iid), by the site given in the datalist (site), with different "
        "class frequencies (labels), or with different kinds of annotation (tasks)",
    )
    tool.add_argument(
        "--datalist", metavar="FILE", type=Path, help="datalist to partition across sites (default: a synthetic cohort)"
    )
    tool.add_argument("--patients", type=int, metavar="N", default=180, help="patients in the synthetic cohort")
    tool.add_argument("--image-size", type=int, metavar="PIXELS", default=64, help="rows of the network's input")


def _listed(names: Sequence[str]) -> str:
    return f"one of {', '.join(names)}"


def _simulate(options: argparse.Namespace) -> int:
    from mtmedformer_monai.federated.simulation import SimulationSettings, compare
    from mtmedformer_monai.federated.sites_file import read_sites

    bundle = options.bundle.resolve()
    overrides = parse_pairs(options.override, "--override")
    if overrides:
        from mtmedformer_monai.federated.simulation.bundle_parts import check_bundle_overrides

        check_bundle_overrides(bundle, overrides)
    listed = () if options.sites.removeprefix("-").isdigit() else tuple(read_sites(options.sites))
    output = options.output or Path("federation_output") / bundle.name
    settings = SimulationSettings(
        bundle=bundle,
        output=output.resolve(),
        num_sites=len(listed) or int(options.sites),
        sites=listed,
        num_rounds=options.rounds,
        local_epochs=options.local_epochs,
        strategy=options.strategy,
        strategy_settings=parse_pairs(options.setting, "--setting"),
        partition=options.partition,
        datalist=options.datalist,
        patients=options.patients,
        image_size=options.image_size,
        seed=options.seed,
        posterior=options.posterior,
        num_processes=options.processes,
        overrides=overrides,
        start=options.start,
        pretrain_epochs=options.pretrain_epochs,
    )
    compare(settings, options.baselines)
    return 0


def parse_pairs(pairs: Sequence[str], option: str) -> dict[str, Any]:
    """Parses `NAME=VALUE` pairs into {name: value}; values are parsed as JSON if possible, and kept as text otherwise.

    Raises:
        ValueError: a pair has no equals sign.

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
