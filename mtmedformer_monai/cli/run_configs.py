"""Runs configs of a bundle in this process."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def run_configs(bundle: Path, configs: Sequence[Path], overrides: Mapping[str, Any], workflow_type: str) -> None:
    """Runs config files of a bundle with MONAI's `ConfigWorkflow`, without configuring the logging.

    Args:
        bundle: the bundle's folder.
        configs: config files; later files take precedence.
        overrides: {id: value}.
        workflow_type: 'train' or 'inference'; which properties the configs have.
    """
    from monai.bundle import ConfigWorkflow

    monai_log = logging.getLogger("monai.bundle.workflows")
    level = monai_log.level
    monai_log.setLevel(logging.ERROR)  # it warns that there is no logging file
    try:
        workflow = ConfigWorkflow(
            config_file=[str(path) for path in configs],
            meta_file=str(bundle / "configs" / "metadata.json"),
            logging_file=False,
            workflow_type=workflow_type,
            bundle_root=str(bundle),
            **overrides,
        )
    finally:
        monai_log.setLevel(level)
    workflow.initialize()
    workflow.run()
