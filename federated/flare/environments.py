"""Where a federation on FLARE runs."""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path

from nvflare.job_config.api import FedJob
from nvflare.recipe.poc_env import SERVICE_START_TIMEOUT, PocEnv, _start_poc, prepare_poc_provision
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


class _PocEnv(PocEnv):
    """FLARE's POC mode whose participants allow the classes of this package, which `PocEnv` has no option for."""

    def deploy(self, job: FedJob) -> str:
        """Prepares and starts the services and submits the job; returns its id."""
        if self._check_poc_running():
            raise RuntimeError("FLARE's POC mode is running already; end it with: nvflare poc stop")
        prepare_poc_provision(self.clients, self.num_clients, self.poc_workspace, None, False, "", None)
        for local in Path(self.poc_workspace).glob("*/prod_00/*/local"):
            allow_classes(local)
        _start_poc(poc_workspace=self.poc_workspace, gpu_ids=[], excluded=[self.username], services_list=[])
        time.sleep(SERVICE_START_TIMEOUT)
        return str(self._get_session_manager().submit_job(job))


def run_poc(recipe: Recipe, files: OwnFiles) -> None:
    """Runs a server and all sites as separate services on this machine, and stops them afterwards.

    Raises:
        RuntimeError: POC mode is running already.
    """
    run = recipe.run(_PocEnv(clients=list(files.sites), num_clients=len(files.sites)))
    run.get_result(clean_up=True)
    logger.info("Status of the job: %s", run.get_status())


def submit(recipe: Recipe, startup_kit: Path, username: str) -> str:
    """Submits the job to a provisioned system and returns its id.

    Args:
        recipe: of the federation.
        startup_kit: folder of the administrator's startup kit.
        username: of the administrator.
    """
    run = recipe.run(ProdEnv(str(startup_kit), username=username))
    return str(run.get_job_id())
