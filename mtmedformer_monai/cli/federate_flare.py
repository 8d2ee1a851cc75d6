"""The command `mtmedformer federate flare`. Heavy imports are deferred until it runs."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

from mtmedformer_monai.federated.choices import STRATEGIES

from .bundle_folders import bundle_help, default_bundle
from .help_format import HelpFormatter

ENVIRONMENTS = ("sim", "poc", "prod")


def add_flare_command(tools: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `federate flare` to the command line."""
    tool = tools.add_parser(
        "flare",
        help="train a bundle at several sites with NVIDIA FLARE",
        description="Runs a federation in FLARE's simulator (sim), in its POC mode with one server and the sites on "
        "this machine (poc), or on a provisioned system with mutual TLS (prod). Run the same command again to resume.",
        formatter_class=HelpFormatter,
    )
    bundle = default_bundle()
    tool.add_argument("--env", choices=ENVIRONMENTS, default="sim", help="where the federation runs")
    tool.add_argument(
        "--bundle",
        metavar="FOLDER",
        type=Path,
        default=bundle,
        required=bundle is None,
        help="folder of the bundle; with --env prod, it only serves to validate the names of overrides, because each "
        f"participant has a copy; {bundle_help()}",
    )
    tool.add_argument("--sites", type=Path, required=True, metavar="FILE", help="YAML file that lists the sites")
    tool.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="output folder")
    tool.add_argument("--name", metavar="NAME", default="mtmedformer", help="name of the job")
    tool.add_argument("--rounds", type=int, metavar="N", default=5, help="number of rounds")
    tool.add_argument("--local-epochs", type=int, metavar="N", default=4, help="epochs per site and round")
    tool.add_argument(
        "--strategy",
        choices=list(STRATEGIES),
        metavar="NAME",
        default="bayesian",
        help=f"one of {', '.join(STRATEGIES)}",
    )
    _add_details(tool)
    tool.set_defaults(run=_run)


def _add_details(tool: argparse.ArgumentParser) -> None:
    tool.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE", help="setting of the strategy")
    tool.add_argument(
        "--override",
        action="append",
        default=[],
        metavar="ID=VALUE",
        help="override a number of the bundle's config at all sites; text and components are set in a site's own file",
    )
    tool.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="NAME:KEY=VALUE,...",
        help="filter applied to each site's updates: gaussian:clip=1,noise=0.5, or FLARE's svt, percentile and exclude",
    )
    tool.add_argument("--seed", type=int, metavar="N", default=0, help="random seed")
    tool.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        default=[],
        metavar=("ROWS", "COLUMNS"),
        help="size of the network's input in pixels (default: that of the bundle)",
    )
    tool.add_argument(
        "--min-sites",
        type=int,
        metavar="N",
        default=0,
        help="minimum number of sites that close a round (default: all connected sites)",
    )
    tool.add_argument(
        "--round-timeout",
        type=int,
        default=0,
        metavar="SECONDS",
        help="close a round after this time, even if some sites have not answered (default: never)",
    )
    tool.add_argument("--no-tracking", action="store_true", help="do not log the rounds to MLflow at the server")
    tool.add_argument(
        "--startup-kit",
        type=Path,
        metavar="FOLDER",
        help="startup kit of an administrator; with --env prod, the job is submitted (default: it is written to "
        "OUTPUT/job)",
    )
    tool.add_argument("--admin", metavar="NAME", default="admin@nvidia.com", help="name of the administrator")


def parse_filter(text: str) -> dict[str, Any]:
    """Parses `NAME:KEY=VALUE,...` into the settings of a filter, for `make_filters`.

    Example:
        >>> parse_filter("gaussian:clip=1,noise=0.5")
        {'name': 'gaussian', 'clip': 1, 'noise': 0.5}
    """
    from .federate import parse_pairs

    name, _, settings = text.partition(":")
    return {"name": name, **parse_pairs(settings.split(",") if settings else [], "--filter")}


def require_flare() -> None:
    """Raises a ValueError with the remedy if FLARE is not installed."""
    if importlib.util.find_spec("nvflare") is None:
        raise ValueError("this command needs NVIDIA FLARE; install it with: pip install 'mtmedformer-monai[flare]'")


def _run(options: argparse.Namespace) -> int:
    require_flare()
    from mtmedformer_monai.federated.flare.federation import run_federation
    from mtmedformer_monai.federated.job.settings import JobSettings
    from mtmedformer_monai.federated.sites_file import read_sites
    from mtmedformer_monai.federated.strategies import with_num_rounds

    from .federate import parse_pairs

    own = parse_pairs(options.setting, "--setting")
    if options.filter:
        own.setdefault("distillation_rounds", 0)  # sites with filters would send nothing
    settings = JobSettings(
        name=options.name,
        num_rounds=options.rounds,
        local_epochs=options.local_epochs,
        strategy=options.strategy,
        strategy_settings=with_num_rounds(options.strategy, own, options.rounds),
        seed=options.seed,
        image_size=tuple(options.image_size),
        overrides=parse_pairs(options.override, "--override"),
        min_sites=options.min_sites,
        round_timeout=options.round_timeout,
        track=not options.no_tracking,
        update_filters=tuple(parse_filter(each) for each in options.filter),
    )
    kit = (options.startup_kit, options.admin) if options.startup_kit else None
    run_federation(
        options.env, settings, read_sites(options.sites), options.bundle.resolve(), options.output.resolve(), kit
    )
    return 0
