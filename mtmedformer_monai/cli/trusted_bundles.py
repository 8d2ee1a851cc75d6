"""Refuses bundles whose configurations would run code from elsewhere, in commands that build parts of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def add_trust_option(command: argparse.ArgumentParser) -> None:
    """Adds `--trust` to a command that has `--bundle`."""
    command.add_argument(
        "--trust", action="store_true", help="run a bundle whose configuration contains code from elsewhere"
    )


def require_trust(options: argparse.Namespace, configs: Sequence[Path]) -> None:
    """Checks the configurations that are going to be used, unless `--trust` is given.

    Raises:
        UntrustedBundleError: one would run code from elsewhere.
    """
    from mtmedformer_monai.deploy.trust.inspect_bundle import check_trusted

    if not options.trust:
        check_trusted(options.bundle, configs)
