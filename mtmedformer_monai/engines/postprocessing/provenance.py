"""Provenance in each result: weights, bundle and package versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import monai
import torch

from mtmedformer_monai import __version__
from mtmedformer_monai.io.file_sha256 import file_sha256

from .output_names import absolute


def describe_run(weights: str | Path = "", bundle_root: str | Path = "") -> dict[str, Any]:
    """Returns the provenance of a run as plain Python values.

    Args:
        weights: file of the network's weights; '' if there is none.
        bundle_root: the bundle's folder, whose `configs/metadata.json` contains name and version.

    Returns:
        `checkpoint` ({path, sha256} or None), `bundle` ({name, version} or None) and `versions` ({package: version}).
    """
    path = Path(absolute(weights)) if str(weights) else None
    known = path is not None and path.is_file()
    return {
        "checkpoint": {"path": str(path), "sha256": file_sha256(path)} if known and path is not None else None,
        "bundle": _read_bundle(Path(bundle_root)) if str(bundle_root) else None,
        "versions": {"mtmedformer_monai": __version__, "monai": monai.__version__, "torch": torch.__version__},
    }


def _read_bundle(root: Path) -> dict[str, Any] | None:
    try:
        metadata = json.loads((root / "configs" / "metadata.json").read_text(encoding="utf-8"))
        return {"name": metadata.get("name"), "version": metadata.get("version")}
    except (OSError, ValueError, AttributeError):
        return None
