"""Access to an MLflow store, shared by all trackers: its URI, experiments, runs, parameters and metrics."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mtmedformer_monai.io.sqlite_uri import sqlite_uri

LONGEST_PARAMETER: Final = 6000
"""Number of characters that MLflow accepts for a parameter's value."""


def store_uri(folder: Path, tracking_uri: str | None = None) -> str:
    """Returns the URI of a store: the given one, or that of `mlflow.db` in a folder."""
    return tracking_uri or sqlite_uri(folder / "mlflow.db")


def ensure_experiment(client: Any, name: str, artifacts: Path | None = None) -> str:
    """Returns the identifier of an experiment, which is created if the store does not have it.

    Args:
        client: an MlflowClient.
        name: of the experiment.
        artifacts: absolute path of the folder for the artifacts of a new experiment; None leaves it to the server.
    """
    from mlflow.exceptions import MlflowException

    if client.get_experiment_by_name(name) is None:
        with contextlib.suppress(MlflowException):  # another process has just created it
            client.create_experiment(name, artifact_location=None if artifacts is None else artifacts.as_uri())
    return str(client.get_experiment_by_name(name).experiment_id)


def reopen_run(client: Any, run_id: str | None) -> Any:
    """Marks an earlier run as running and returns it; None if there is none, or the store does not have it.

    Args:
        client: an MlflowClient.
        run_id: identifier of the run.
    """
    from mlflow.exceptions import MlflowException

    if run_id is None:
        return None
    try:
        run = client.get_run(run_id)
    except MlflowException:
        return None
    client.update_run(run_id, status="RUNNING")
    return run


def parameter_texts(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Returns the parameters as text, cut to the length that MLflow accepts.

    Example:
        >>> parameter_texts({"seed": 0, "strategy": "fedavg"})
        {'seed': '0', 'strategy': 'fedavg'}
    """
    return {name: str(value)[:LONGEST_PARAMETER] for name, value in parameters.items()}


def log_metrics(client: Any, run_id: str, metrics: Mapping[str, float], step: int) -> None:
    """Logs all finite metrics of a step.

    Args:
        client: an MlflowClient.
        run_id: identifier of the run.
        metrics: {name: value}.
        step: such as the epoch or the round.
    """
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    finite = [Metric(name, value, now, step) for name, value in metrics.items() if math.isfinite(value)]
    client.log_batch(run_id, metrics=finite)
