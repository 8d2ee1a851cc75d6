"""Tracks runs in MLflow with MONAI's handler, in a local SQLite file by default or on a server."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from monai.utils import CommonKeys

from mtmedformer_monai.io.config_text import warn_if_mangled
from mtmedformer_monai.io.file_sha256 import file_sha256
from mtmedformer_monai.io.sqlite_uri import sqlite_file

from .mlflow_store import ensure_experiment, log_metrics, parameter_texts, reopen_run, store_uri
from .order import after_all
from .run_tags import KIND, PARENT, WEIGHTS_HASH, run_tags


class MLflowTracker:
    """Logs a training and its validations as one MLflow run.

    Parameters and tags are logged at the start, the metrics of each epoch as `train/<metric>` and
    `validation/<metric>`, and artifacts (pictures, metrics, weights) at the end. The run is then terminated, as failed
    if an exception was raised. Patient attributes and image names are never logged. Only process 0 logs. List this
    handler before MONAI's StatsHandler and CheckpointSaver, because Ignite stops at the first exception handler that
    raises the exception again.

    This class wraps MONAI's MLFlowHandler and adds the following: the metrics of both engines are logged to one run
    without name conflicts; each training gets its own run (the stock handler continues any unfinished run of the
    experiment); a resumed training continues its run, whose name is a part of `TrainingState`; and the SHA-256 of the
    weights is logged as a tag, which makes the run of an evaluation a child of the training that produced its weights.

    Args:
        folder: folder in which `mlflow.db` and `mlruns` (artifacts) are created, unless `tracking_uri` is given.
        tracking_uri: URI of a server, such as `http://tracker:5000`, or `sqlite:///...`. MLflow's environment variable
            MLFLOW_TRACKING_URI takes precedence.
        experiment_name: name of the MLflow experiment.
        run_name: name of the run; by default it consists of the time and random characters.
        evaluator: evaluator of the validation during training.
        artifacts: files and folders that are logged at the end.
        parameters: parameters, logged once when the run starts.
        tags: tags of the run, such as `{"kind": "training"}`, in addition to those of `run_tags`.
        bundle_root: folder of the bundle, whose name and version become tags.
        weights: file of the weights that an evaluation uses or a training writes; its SHA-256 becomes a tag.
        iteration_interval: loss and learning rate are also logged every n iterations; 0 disables this.
    """

    def __init__(
        self,
        folder: str,
        tracking_uri: str | None = None,
        experiment_name: str = "mtmedformer",
        run_name: str | None = None,
        evaluator: Engine | None = None,
        artifacts: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        bundle_root: str | None = None,
        weights: str | None = None,
        iteration_interval: int = 0,
    ) -> None:
        warn_if_mangled(folder)
        self._folder = Path(folder).resolve()
        self._tracking_uri = store_uri(self._folder, tracking_uri)
        self._experiment_name = experiment_name
        self._run_name = run_name or f"{time.strftime('%Y%m%d_%H%M%S')}_{secrets.token_hex(3)}"
        self._evaluator = evaluator
        self._artifacts = [str(path) for path in artifacts]
        self._parameters = parameter_texts(parameters or {})
        self._tags = run_tags(bundle_root) | dict(tags or {})
        self._weights = Path(weights) if weights else None
        self._interval = iteration_interval
        self._run_id: str | None = None
        self._handler: Any = None

    def attach(self, engine: Engine) -> None:
        """Registers on a trainer, or on an evaluator that runs by itself (its figures are logged as `test/...`)."""
        if idist.get_rank() != 0:
            return
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)  # after a resume has told the run's name
        if self._interval > 0:
            engine.add_event_handler(Events.ITERATION_COMPLETED(every=self._interval), self._log_iteration)
        after_all(engine, Events.EPOCH_COMPLETED, self._log_epoch)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)

    def state_dict(self) -> dict[str, Any]:
        """The run's name and identifier."""
        return {"run_name": self._run_name, "run_id": self._run_id}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues that run."""
        self._run_name, self._run_id = state["run_name"], state["run_id"]

    def _start(self, engine: Engine) -> None:
        if self._handler is not None:
            return
        self._handler = self._make_handler()
        client = self._handler.client
        experiment = _ensure_experiment(client, self._experiment_name)
        run = reopen_run(client, self._run_id)  # of a resumed training, or of an earlier round
        if run is None:
            self._handler.experiment_param = self._parameters  # a run's parameters can't change
            run = client.create_run(experiment_id=experiment, run_name=self._run_name)
        self._handler.cur_run = run  # the stock handler would continue any unfinished run of this name
        self._handler.start(engine)
        self._run_id = self._handler.cur_run.info.run_id
        self._set_tags(self._tags)
        if not hasattr(engine, "optimizer"):
            self._link_to_training()
        if not engine.has_event_handler(self._finish, Events.COMPLETED):
            engine.add_event_handler(Events.COMPLETED, self._finish)  # behind what draws the pictures

    def _make_handler(self) -> Any:
        from monai.handlers import MLFlowHandler  # MLflow takes seconds to import

        self._folder.mkdir(parents=True, exist_ok=True)
        return MLFlowHandler(
            tracking_uri=self._tracking_uri,
            experiment_name=self._experiment_name,
            run_name=self._run_name,
            output_transform=_loss_of,
            artifacts=self._artifacts,
        )

    def _set_tags(self, tags: Mapping[str, str]) -> None:
        for name, value in tags.items():
            self._handler.client.set_tag(self._run_id, name, value)

    def _link_to_training(self) -> None:
        """Makes an evaluation the child of the latest training that wrote these weights, if the store has it."""
        if self._weights is None or not self._weights.is_file():
            return
        digest = file_sha256(self._weights)
        self._set_tags({WEIGHTS_HASH: digest})
        found = self._handler.client.search_runs(
            [self._handler.cur_run.info.experiment_id],
            f"tags.{WEIGHTS_HASH} = '{digest}' and tags.{KIND} != '{self._tags.get(KIND, '')}'",
            order_by=["attributes.start_time DESC"],
            max_results=1,
        )
        if found:
            self._set_tags({PARENT: found[0].info.run_id})

    def _log_iteration(self, engine: Engine) -> None:
        self._handler.iteration_completed(engine)

    def _log_epoch(self, engine: Engine) -> None:
        epoch = engine.state.epoch
        figures = _prefixed("train" if hasattr(engine, "optimizer") else "test", engine)
        if self._evaluator is not None and self._evaluator.state.epoch == epoch:
            figures |= _prefixed("validation", self._evaluator)
        log_metrics(self._handler.client, self._handler.cur_run.info.run_id, figures, epoch)

    def _finish(self) -> None:
        if self._handler is None:
            return
        if self._weights is not None and self._weights.is_file():
            self._set_tags({WEIGHTS_HASH: file_sha256(self._weights)})
        self._handler.complete()
        self._handler.close()
        self._handler = None

    def _fail(self, engine: Engine, error: Exception) -> None:
        if self._handler is not None and self._handler.cur_run is not None:
            self._handler.client.set_terminated(self._handler.cur_run.info.run_id, "FAILED")
        raise error  # a handler that returns would swallow it


def _ensure_experiment(client: Any, name: str) -> str:
    """Returns the identifier of an experiment; a local store has its artifacts in `mlruns` beside the database.

    MONAI would take the text of the URI for the folder, percent signs and all.
    """
    database = sqlite_file(client.tracking_uri)
    return ensure_experiment(client, name, None if database is None else database.resolve().parent / "mlruns")


def _prefixed(prefix: str, engine: Engine) -> dict[str, float]:
    known = {name: float(value) for name, value in engine.state.metrics.items() if isinstance(value, int | float)}
    return {f"{prefix}/{name}": value for name, value in known.items() if math.isfinite(value)}


def _loss_of(output: Any) -> Any:
    """The batch's loss, decollated or not; None in an evaluator."""
    return (output[0] if isinstance(output, list) else output).get(CommonKeys.LOSS)
