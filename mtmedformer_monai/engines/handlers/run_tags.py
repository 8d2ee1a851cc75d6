"""Tags that record the provenance of a tracked run: bundle, package version, Git commit."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import mtmedformer_monai

KIND = "kind"
"""Tag with the kind of run, such as training, pretraining or evaluation."""

WEIGHTS_HASH = "weights_sha256"
"""Tag with the SHA-256 of the weights that a training wrote or an evaluation used."""

PARENT = "mlflow.parentRunId"
"""Tag with which MLflow nests a run below its parent."""


def run_tags(bundle_root: str | Path | None = None) -> dict[str, str]:
    """Returns the tags of a new run.

    Args:
        bundle_root: folder of the bundle, if any.

    Returns:
        `package_version`; `git_commit` (with `-dirty` if tracked files are modified) if the package is located in a Git
        checkout; `bundle` and `bundle_version` if the bundle's `configs/metadata.json` contains them.
    """
    tags = {"package_version": mtmedformer_monai.__version__, "git_commit": _git_commit()}
    if bundle_root is not None:
        tags |= _bundle_tags(Path(bundle_root))
    return {name: value for name, value in tags.items() if value}


def _bundle_tags(root: Path) -> dict[str, str]:
    path = root / "configs" / "metadata.json"
    if not path.is_file():
        return {}
    metadata = json.loads(path.read_text(encoding="utf-8"))
    return {"bundle": str(metadata.get("name", "")), "bundle_version": str(metadata.get("version", ""))}


def _git_commit() -> str:
    """Returns the commit, or '' without Git or outside a checkout of this project (such as for an installed wheel)."""
    root = Path(mtmedformer_monai.__file__).parents[1]
    if not (root / ".git").exists():
        return ""
    command = ["git", "describe", "--always", "--abbrev=40", "--match=", "--dirty"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
