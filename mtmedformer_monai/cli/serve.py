"""The `mtmedformer serve` command: a worker for a DICOM archive."""

from __future__ import annotations

import argparse
import logging
import signal
import threading
from pathlib import Path

from .help_format import HelpFormatter
from .trusted_bundles import add_trust_option

logger = logging.getLogger("mtmedformer")


def add_serve_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `serve` to the command line."""
    description = (
        "watch a DICOM archive (DICOMweb) or receive images (C-STORE), infer, and store the results back; for research "
        "use only; see docs/clinic.md"
    )
    command = commands.add_parser("serve", help=description, description=description, formatter_class=HelpFormatter)
    command.add_argument("--config", metavar="FILE", type=Path, required=True, help="configuration, serve.yaml")
    command.add_argument("--check", action="store_true", help="check the configuration and the archive, and exit")
    command.add_argument(
        "--once",
        action="store_true",
        help="exit when nothing is left to do; the exit code is 1 if cases wait",
    )
    command.add_argument("--retry-failed", action="store_true", help="try failed cases again")
    command.add_argument(
        "--from-beginning",
        action="store_true",
        help="read the archive from its beginning; images that this model has processed are not processed again",
    )
    add_trust_option(command)
    command.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    from mtmedformer_monai.deploy.serve.check import check_service
    from mtmedformer_monai.deploy.serve.config import load_config

    config = load_config(options.config)
    if options.check:
        return check_service(config)
    from mtmedformer_monai.deploy.serve.bundle_model import load_model  # imports MONAI
    from mtmedformer_monai.deploy.serve.service import open_service

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with open_service(
        config, load_model(config, options.trust), options.retry_failed, options.from_beginning
    ) as service:
        logger.info("ready; health and metrics on port %d, for research use only", service.health_port)
        service.run(stop, options.once)
        counts = service.state.counts()
    logger.info("stopped; %s", ", ".join(f"{count} {state}" for state, count in counts.items()))
    waiting = counts["seen"] + counts["fetched"] + counts["inferred"] + counts["failed"]
    return int(options.once and waiting > 0)
