"""The command `mtmedformer federate join`, for the administrator of a hospital or of the server."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from .help_format import HelpFormatter

logger = logging.getLogger("mtmedformer")


def add_join_command(tools: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `federate join` to the command line."""
    tool = tools.add_parser(
        "join",
        help="prepare a FLARE startup kit of a hospital or of the server",
        description="Writes local/mtmedformer.yaml with this participant's own settings, and allows this package's two "
        "FLARE components in local/resources.json. Start the kit afterwards with its startup/start.sh.",
        formatter_class=HelpFormatter,
    )
    tool.add_argument("kit", type=Path, metavar="KIT", help="folder of the startup kit")
    tool.add_argument("--bundle", type=Path, required=True, metavar="FOLDER", help="folder of the bundle")
    tool.add_argument("--datalist", type=Path, metavar="FILE", help="datalist of the hospital's images")
    tool.add_argument("--dataset-dir", type=Path, metavar="FOLDER", help="folder of the hospital's images")
    tool.add_argument(
        "--output", type=Path, metavar="FOLDER", help="folder for state and results (default: KIT/mtmedformer)"
    )
    tool.add_argument(
        "--override",
        action="append",
        default=[],
        metavar="ID=VALUE",
        help="override a value of the bundle's config at this participant",
    )
    tool.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from mtmedformer_monai.federated.job.local_file import LOCAL_FILE, local_site
    from mtmedformer_monai.federated.sites_file import Site, site_text

    from .federate import parse_pairs
    from .federate_flare import require_flare

    require_flare()
    from mtmedformer_monai.federated.flare.job import allow_classes

    local = options.kit / "local"
    if not (options.kit / "startup").is_dir():
        raise FileNotFoundError(f"KIT expects a startup kit with a folder 'startup', got {options.kit}.")
    for path in (options.datalist, options.dataset_dir):
        if path is not None and not path.exists():
            raise FileNotFoundError(f"{path} does not exist; check --datalist and --dataset-dir.")
    names = ("bundle", "datalist", "dataset_dir", "output")
    paths: dict[str, Any] = {
        name: str(getattr(options, name).resolve()) for name in names if getattr(options, name) is not None
    }
    site = Site(**paths, overrides=parse_pairs(options.override, "--override"))
    allow_classes(local)
    (local / LOCAL_FILE).write_text(site_text(site), encoding="utf-8")
    local_site(local / LOCAL_FILE, options.kit)
    logger.info("Wrote %s; start with: %s", local / LOCAL_FILE, options.kit / "startup/start.sh")
    return 0
