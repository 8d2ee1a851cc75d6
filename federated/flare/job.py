"""The FLARE job of a federation, and its execution: in the simulator, in POC mode, or by a provisioned system."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nvflare.app_common.default_component_policy import DEFAULT_CLASS_ALLOW_LIST
from nvflare.job_config.api import FedJob
from nvflare.recipe.spec import Recipe

from mtmedformer_monai.federated.job.settings import JobSettings
from mtmedformer_monai.federated.sites_file import Site, site_text

from .controller import FederationController
from .executor import SiteExecutor

ALLOWED = tuple(f"{each.__module__}.{each.__name__}" for each in (FederationController, SiteExecutor))
"""The classes of this package that a job names; each participant adds them to its list of allowed classes."""

PACKAGE = "mtmedformer_monai"


@dataclass(frozen=True)
class OwnFiles:
    """Files with the participants' own settings, on this machine.

    Attributes:
        server: of the server.
        sites: {name: of the site}.
    """

    server: Path
    sites: dict[str, Path]


def make_recipe(settings: JobSettings, num_sites: int, files: OwnFiles | None = None) -> Recipe:
    """Returns the recipe of a federation, whose job consists of configuration only.

    Args:
        settings: of the federation.
        num_sites: number of sites that must be connected.
        files: own settings of participants on this machine; None: each has `local/mtmedformer.yaml`.
    """
    job = FedJob(name=settings.name, min_clients=settings.min_sites or num_sites)
    job.set_app_packages([PACKAGE])
    job.to_server(FederationController(settings.to_dict(), str(files.server) if files else ""))
    for name, file in files.sites.items() if files else ():
        job.to(SiteExecutor(str(file)), name)
    if files is None:
        job.to_clients(SiteExecutor())
    return Recipe(job)


def write_own_files(sites: Sequence[Site], bundle: Path, output: Path, server: Site | None = None) -> OwnFiles:
    """Writes the settings of participants that all run on this machine.

    Args:
        sites: of the federation.
        bundle: default bundle of all participants.
        output: folder for all results; the sites' states are in `sites/NAME`.
        server: overrides of the server; default those of the first site, whose network it shares.
    """
    folder = output / "participants"
    folder.mkdir(parents=True, exist_ok=True)
    own = server or Site(overrides=sites[0].overrides)
    whole = replace(own, name="server", bundle=own.bundle or str(bundle), output=own.output or str(output))
    written = {}
    for site in sites:
        filled = replace(
            site, bundle=site.bundle or str(bundle), output=site.output or str(output / "sites" / site.name)
        )
        written[site.name] = _write(filled, folder / f"{site.name}.yaml")
    return OwnFiles(_write(whole, folder / "server.yaml"), written)


def allow_classes(local: Path) -> None:
    """Adds this package's two FLARE components to a participant's list of allowed classes.

    Args:
        local: folder `local` of the participant's workspace.
    """
    path, default = local / "resources.json", local / "resources.json.default"
    source = path if path.is_file() else default
    resources: dict[str, Any] = json.loads(source.read_text()) if source.is_file() else {"format_version": 2}
    listed = resources.setdefault("class_allow_list", list(DEFAULT_CLASS_ALLOW_LIST))
    listed += [name for name in ALLOWED if name not in listed and "*" not in listed]
    local.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(resources, indent=2))


def _write(site: Site, path: Path) -> Path:
    path.write_text(site_text(site), encoding="utf-8")
    return path
