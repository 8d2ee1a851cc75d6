"""The `mtmedformer inspect` command: the hash of a bundle, and the code that its configurations would run."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from .bundle_folders import bundle_help
from .help_format import HelpFormatter

logger = logging.getLogger("mtmedformer")

FOREIGN = 3
"""Exit code of a bundle that contains code from elsewhere."""


def add_inspect_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `inspect` to the command line."""
    description = "show the hashes of a bundle and the code that its configurations would run, without running it"
    epilog = "Exit code: 0, or 3 if there is code outside of this package's allow-list."
    command = commands.add_parser(
        "inspect", help=description, description=description, epilog=epilog, formatter_class=HelpFormatter
    )
    command.add_argument("--bundle", metavar="PATH", type=Path, required=True, help=f"folder or ZIP; {bundle_help()}")
    command.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    import tempfile

    from mtmedformer_monai.deploy.trust.inspect_bundle import inspect_bundle, shown
    from mtmedformer_monai.io.unpack_zip import find_bundle, unpack_zip

    with tempfile.TemporaryDirectory() as folder:
        bundle = options.bundle
        if bundle.is_file():
            unpack_zip(bundle, Path(folder))
            bundle = find_bundle(Path(folder))
        found = inspect_bundle(bundle)
    logger.info("SHA-256 of the configuration: %s", found.sha256)
    for name, digest in found.weights.items():
        logger.info("SHA-256 of %s: %s", shown(name), digest)
    logger.info("%d components, %d pieces of code from elsewhere", found.num_components, len(found.foreign))
    for code in found.foreign:
        logger.warning("%s, %s: %s %s", shown(code.file), shown(code.place), code.kind, shown(code.text))
    return FOREIGN if found.foreign else 0
