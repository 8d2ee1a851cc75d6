"""Commands of `monai.bundle` as a user would type them, and running them."""

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
    """The command `python -m monai.bundle run`.

    Args:
        run_id: of the config, such as `training`.
        configs: files, the later ones over the earlier ones.
        overrides: {id of the config: value}; paths by `config_text`.
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
    return abs(code)  # where it failed, its own last line says why, and what to do
