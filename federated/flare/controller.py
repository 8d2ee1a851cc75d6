"""FLARE's server component: measures the initial losses, runs the rounds, and writes the final model.

A site that joins after the first round is asked for its tasks first, so that it starts from its group's mean; others
train meanwhile.

Each site gets its own broadcast, because sites of a group share a mean. Results are aggregated as they arrive
and then dropped. `ServerSession` keeps the state, so the same job submitted again resumes a federation that was killed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.fl.utils.exchange_object import ExchangeObject
from nvflare.apis.client import Client
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.workflows.model_controller import ModelController
from nvflare.app_opt.pt.decomposers import TensorDecomposer
from nvflare.fuel.utils import fobs

from mtmedformer_monai.federated.job.local_file import LOCAL_FILE, local_site
from mtmedformer_monai.federated.job.results import Progress, write_results
from mtmedformer_monai.federated.job.session import open_session
from mtmedformer_monai.federated.job.settings import JobSettings
from mtmedformer_monai.federated.sites_file import Site
from mtmedformer_monai.federated.wire import num_bytes

from .messages import EVALUATE, MEASURE, SETTINGS, SITE_METRICS, STEP, TRAIN, read_result, to_model

logger = logging.getLogger("mtmedformer")

Accept = Callable[[ExchangeObject, str], bool]
PERIOD = 0.2
"""Seconds between two looks at the standing tasks."""


class FederationController(ModelController):
    """Runs a federation over FLARE.

    Args:
        settings: `JobSettings.to_dict()`.
        server_file: the server's own settings; default `local/mtmedformer.yaml` of its workspace.
    """

    def __init__(self, settings: Mapping[str, Any], server_file: str = "") -> None:
        super().__init__(persistor_id="", ignore_result_error=True, task_check_period=PERIOD)
        self.settings, self.server_file = dict(settings), server_file
        self._given = JobSettings.from_dict(settings)
        self._metrics: dict[str, dict[str, float]] = {}
        self._num_bytes, self._num_bytes_broadcast = 0, 0
        self._answered: set[str] = set()
        self._broken: Exception | None = None

    def run(self) -> None:
        """Runs the remaining rounds and writes the results."""
        fobs.register(TensorDecomposer)
        server = self._read_server()
        session = self._session = open_session(self._given, server)
        progress = Progress(Path(server.output), self._given, session)
        if session.aggregator.round == 0:
            self._ask(MEASURE, session.unmeasured, session.add_losses)
            self._need(session.aggregator.measured, "initial losses")
        while session.aggregator.rounds_left(self._given.num_rounds) > 0 and not self.abort_signal.triggered:
            self._round(progress)
        if self.abort_signal.triggered:
            return
        self._metrics = {}
        self._ask(EVALUATE, lambda sites: [site for site in sites if site not in self._metrics], lambda *_: True)
        progress.log_metrics(session.aggregator.round, self._metrics)
        progress.finish(write_results(session.aggregator, self._given, server))

    def process_result_of_unknown_task(
        self, client: Client, task_name: str, client_task_id: str, result: Shareable, fl_ctx: FLContext
    ) -> None:
        """Logs a result that came after its round was closed."""
        self._session.refuse(client.name, "it came after the round was closed; the site continues with the next round")

    def _round(self, progress: Progress) -> None:
        session, started, self._metrics = self._session, time.monotonic(), {}
        number = session.aggregator.round + 1
        self._num_bytes, self._num_bytes_broadcast = 0, 0
        self._ask(TRAIN, session.missing, session.add)
        if self.abort_signal.triggered:
            return
        if number > 1:
            progress.log_metrics(number - 1, self._metrics)
        self._need(session.aggregator.clients, f"round {number}")
        seconds, traffic = time.monotonic() - started, (self._num_bytes, self._num_bytes_broadcast)
        progress.add_round(number, list(session.aggregator.clients), seconds, traffic)
        session.close_round()

    def _need(self, sites: Sequence[str], step: str) -> None:
        """Stops the job, which may be resumed, if too few sites have answered."""
        needed = self._given.min_sites or max(1, len(self._names()))
        if len(sites) < needed and not self.abort_signal.triggered:
            raise RuntimeError(
                f"{step}: the messages of {needed} sites are needed, got {len(sites)} "
                f"(refused: {self._session.refused or 'none'}); submit the same job again to resume, or set min_sites."
            )

    def _ask(self, step: str, waiting: Callable[[Sequence[str]], list[str]], accept: Accept) -> None:
        """Sends a step to all sites that have not answered it, and waits for their answers.

        A site that has joined after the initial losses were measured is asked for its tasks, and gets the step when it
        has answered. All answers are awaited until the same moment, so a site that is silent holds up a step once.
        """
        session, end = self._session, time.monotonic() + self._given.round_timeout
        sites, self._answered = waiting(self._names()), set()
        late = set(session.unknown(sites)) if session.aggregator.round > 0 else set()
        for site in sites:
            if site in late:
                self._send(MEASURE, site, session.introduce)
            else:
                self._send(step, site, accept)
        while not self.abort_signal.triggered:
            standing = self.get_num_standing_tasks()  # before the answers, which come before a task is done
            ready = late & self._answered
            for site in sorted(ready):
                self._send(step, site, accept, end)
            late -= ready
            if not standing and not ready:
                break
            time.sleep(PERIOD)
        if self._broken is not None:
            raise RuntimeError("the server failed to add a message") from self._broken

    def _send(self, step: str, site: str, accept: Accept, end: float | None = None) -> None:
        """Sends a step to a site.

        Args:
            step: of `messages.py`.
            site: its name.
            accept: adds its answer.
            end: until when an answer is awaited, in seconds of the monotonic clock; None: for the timeout of a round.
        """
        timeout = self._given.round_timeout
        if timeout and end is not None:
            timeout = max(1, round(end - time.monotonic()))
        meta = {STEP: step, SETTINGS: self.settings, SITE_METRICS: self._session.aggregator.round > 0}
        model = to_model(self._session.broadcast(site), **meta)
        self._num_bytes_broadcast += num_bytes(model.params)
        self.send_model(
            data=model, targets=[site], timeout=timeout, callback=lambda model: self._receive(model, site, accept)
        )

    def _receive(self, model: FLModel, site: str, accept: Accept) -> bool:
        """Adds a site's answer; returns whether it was accepted.

        FLARE logs and drops the errors of a callback, so an error of the server itself is kept, and stops the job.
        """
        self._answered.add(site)
        try:
            exchange, metrics = read_result(model)
        except (ValueError, TypeError, AttributeError) as error:
            self._session.refuse(site, str(error))
            return False
        self._metrics |= {site: metrics} if metrics else {}
        try:
            accepted = accept(exchange, site)
        except Exception as error:
            self._broken = error
            raise
        self._num_bytes += num_bytes(model.params or {}) if accepted else 0
        return accepted

    def _names(self) -> list[str]:
        return sorted(client.name for client in self.engine.get_clients())

    def _read_server(self) -> Site:
        workspace: Any = self.fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT) or self.engine.get_workspace()
        file = self.server_file or str(Path(workspace.get_site_config_dir()) / LOCAL_FILE)
        return local_site(Path(file), Path(workspace.get_root_dir()))
