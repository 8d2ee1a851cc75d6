"""Where a federation on FLARE runs."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from nvflare.recipe.prod_env import ProdEnv
from nvflare.recipe.sim_env import SimEnv
from nvflare.recipe.spec import Recipe

from .job import OwnFiles, allow_classes

logger = logging.getLogger("mtmedformer")


def simulate(recipe: Recipe, files: OwnFiles) -> None:
    """Runs all sites in FLARE's simulator, each in a process of its own.

    Raises:
        RuntimeError: the simulation failed.
    """
    with tempfile.TemporaryDirectory(prefix="mtmedformer_flare_") as root:
        allow_classes(Path(root) / recipe.name / "local")
        recipe.run(SimEnv(clients=list(files.sites), workspace_root=root))


def submit(recipe: Recipe, startup_kit: Path, username: str) -> str:
    """Submits the job to a provisioned system and returns its id.

    Args:
        recipe: of the federation.
        startup_kit: folder of the administrator's startup kit.
        username: of the administrator.
    """
    run = recipe.run(ProdEnv(str(startup_kit), username=username))
    return str(run.get_job_id())
