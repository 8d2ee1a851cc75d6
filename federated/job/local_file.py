"""The file in which each participant keeps its own settings: `mtmedformer.yaml` in its workspace (`local` on FLARE)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

from mtmedformer_monai.federated.sites_file import Site, read_site

LOCAL_FILE: Final = "mtmedformer.yaml"


def local_site(file: Path, workspace: Path) -> Site:
    """Returns a participant's own settings.

    Args:
        file: with the settings.
        workspace: of the participant; the default output folder is `mtmedformer` in it.

    Raises:
        FileNotFoundError: the file or the bundle does not exist.
        ValueError: the file does not hold the entries of `Site`, or no bundle.
    """
    site = read_site(file)
    if not site.bundle:
        raise ValueError(f"{file} expects the folder of the bundle under 'bundle'; see docs/flare.md.")
    if not (Path(site.bundle) / "configs/federated.json").is_file():
        raise FileNotFoundError(
            f"{file} expects a bundle with configs/federated.json, got {site.bundle}; copy the bundle there."
        )
    return dataclasses.replace(site, output=site.output or str(workspace / "mtmedformer"))
