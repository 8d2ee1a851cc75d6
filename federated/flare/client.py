"""The training script of a site, run by FLARE's Client API: it answers each task with a message of `SiteSession`.

An error ends the task, not the script: the server learns its type, the site's log has the rest.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nvflare.client as flare
import torch
from nvflare.app_common.abstract.fl_model import FLModel

from mtmedformer_monai.federated.flare.messages import (
    EVALUATE,
    MEASURE,
    SETTINGS,
    SITE_METRICS,
    STEP,
    TRAIN,
    failure,
    from_model,
    to_model,
)
from mtmedformer_monai.federated.flare.scope_filters import site_filters
from mtmedformer_monai.federated.job.settings import JobSettings
from mtmedformer_monai.federated.simulation.worker import make_client
from mtmedformer_monai.federated.site_session import SiteSession
from mtmedformer_monai.federated.sites_file import Site

logger = logging.getLogger("mtmedformer")


class SiteTasks:
    """Answers the server's tasks.

    Args:
        site: the site's own settings.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._settings: JobSettings | None = None
        self._session: SiteSession | None = None

    def answer(self, task: FLModel) -> FLModel:
        """Returns the result of a task; of a failed one, the type of the error."""
        try:
            return self._answer(task)
        except Exception as error:
            logger.exception("%s could not do its task.", self._site.name)
            return failure(f"{type(error).__name__} at the site; see its log")

    def _answer(self, task: FLModel) -> FLModel:
        step, broadcast = task.meta[STEP], from_model(task)
        session = self._ready(task.meta[SETTINGS])
        if step == MEASURE:
            return to_model(session.measure(broadcast))
        if step == EVALUATE:
            return FLModel(params={}, meta={SITE_METRICS: session.evaluate(broadcast)})
        if step != TRAIN:
            raise ValueError(f"a task expects {MEASURE}, {TRAIN} or {EVALUATE}, got {step!r}.")
        metrics = session.evaluate(broadcast) if task.meta.get(SITE_METRICS) else {}
        return to_model(session.train(broadcast), **{SITE_METRICS: metrics})

    def _ready(self, settings: Mapping[str, Any]) -> SiteSession:
        """Returns the session, which is built for the first task."""
        given = JobSettings.from_dict(settings)
        if self._session is None:
            self._settings = given
            spec = given.spec(self._site)
            listed = [*spec.options.get("update_filters", ()), *site_filters()]
            spec = dataclasses.replace(spec, options={**spec.options, "update_filters": listed})
            self._session = SiteSession(lambda: make_client(spec), spec.folder / "client")
        elif given != self._settings:
            raise ValueError("a task expects the settings of the tasks before; submit another job instead.")
        return self._session


def run(site: Site) -> None:
    """Answers tasks until the job ends."""
    if site.num_threads:
        torch.set_num_threads(site.num_threads)
    flare.init()
    tasks = SiteTasks(dataclasses.replace(site, name=flare.get_site_name()))
    while flare.is_running():
        task = flare.receive()
        if task is None:
            break
        flare.send(tasks.answer(task))


if __name__ == "__main__":
    from mtmedformer_monai.federated.job.local_file import local_site

    run(local_site(Path(unquote(sys.argv[1])), Path(unquote(sys.argv[2]))))
