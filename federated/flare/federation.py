"""Runs a federation on FLARE from a bundle and a list of sites."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from mtmedformer_monai.federated.client.update_filters import make_filters
from mtmedformer_monai.federated.job.settings import JobSettings
from mtmedformer_monai.federated.simulation.bundle_parts import check_bundle_overrides
from mtmedformer_monai.federated.sites_file import Site
from mtmedformer_monai.federated.strategies import make_strategy

from .environments import run_poc, simulate, submit
from .job import make_recipe, write_own_files

logger = logging.getLogger("mtmedformer")


def run_federation(
    environment: str,
    settings: JobSettings,
    sites: Sequence[Site],
    bundle: Path,
    output: Path,
    startup_kit: tuple[Path, str] | None = None,
) -> None:
    """Runs a federation, or submits it.

    Args:
        environment: 'sim', 'poc' or 'prod'.
        settings: of the federation.
        sites: of the federation; with 'prod', their names alone.
        bundle: folder of the bundle; with 'prod', each participant has its own copy, and this one, if it exists, only
            checks the names of overrides.
        output: folder of the results; with 'prod', the server's own file sets it, and this is the folder of the job.
        startup_kit: with 'prod', folder and name of the administrator who submits the job; None: the job is written.

    Raises:
        ValueError: an unknown strategy, filter, setting or override, or a site's own settings with 'prod'.
        RuntimeError: the federation ended without a model.
    """
    make_strategy(settings.strategy, **settings.strategy_settings)
    make_filters(settings.update_filters)
    if settings.overrides and (environment != "prod" or (bundle / "configs/federated.json").is_file()):
        check_bundle_overrides(bundle, settings.overrides)
    if environment == "prod":
        _to_provisioned(settings, sites, output, startup_kit)
        return
    started = time.time()
    threads = max(1, torch.get_num_threads() // len(sites))
    local = [replace(site, num_threads=site.num_threads or threads) for site in sites]
    files = write_own_files(local, bundle, output)
    recipe = make_recipe(settings, len(sites), files)
    simulate(recipe, files) if environment == "sim" else run_poc(recipe, files)
    model = output / "models/model.pt"
    if not model.is_file() or model.stat().st_mtime < started:
        raise RuntimeError(f"the federation ended without {model}; see the log above, then repeat the command.")
    logger.info("Global model: %s", model)


def _to_provisioned(
    settings: JobSettings, sites: Sequence[Site], output: Path, startup_kit: tuple[Path, str] | None
) -> None:
    told = [site.name for site in sites if site != Site(name=site.name)]
    if told:
        raise ValueError(
            f"with --env prod, the list of sites expects names alone, got settings of {', '.join(told)}; each site "
            "keeps them in local/mtmedformer.yaml of its startup kit, and nobody else needs to know them."
        )
    recipe = make_recipe(settings, len(sites))
    if startup_kit is None:
        recipe.export(str(output / "job"))
        logger.info("Job: %s; submit it with: nvflare job submit -j %s", *[output / "job" / settings.name] * 2)
        return
    logger.info("Submitted as job %s.", submit(recipe, *startup_kit))
