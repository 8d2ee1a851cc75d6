"""Builds and runs `monai.bundle` commands, exactly as a user would type them."""

from __future__ import annotations

import logging
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

logger = logging.getLogger("mtmedformer")


def bundle_run(run_id: str, configs: Sequence[Path], overrides: Mapping[str, Any]) -> list[str]:
    """Returns the argument list of a `python -m monai.bundle run` command.

    Args:
        run_id: ID of the config's entry to run, such as `training`.
        configs: config files; later files override earlier ones.
        overrides: {config ID: value}; format paths with `config_text`.
    """
    files = str(configs[0]) if len(configs) == 1 else str([str(config) for config in configs])
    flags = [part for name, value in overrides.items() for part in (f"--{name}", str(value))]
    return [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", files, *flags]


def run_step(name: str, command: list[str]) -> int:
    """Logs a command, runs it, and returns its exit code."""
    logger.info("\n== %s ==\n%s", name, shlex.join(["python", *command[1:]]))
    code = subprocess.run(command, check=False).returncode
    if code < 0:
        logger.error("error: %s was ended by signal %d; run the same command again to resume.", name, -code)
    return abs(code)  # on failure, the command's own last line states the cause and the remedy
