"""A simulation in MLflow: one run, a step a round."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .history import Round


class SimulationTracker:
    """Logs each round's figures as `global/<figure>` and `<site>/<figure>`, and the pictures at the end.

    Args:
        folder: where `mlflow.db` and `mlruns` are made, unless MLFLOW_TRACKING_URI names a server.
        name: of the run.
        parameters: logged once.
        run_id: of a run to go on with.
    """

    EXPERIMENT = "mtmedformer_federation"

    def __init__(self, folder: Path, name: str, parameters: Mapping[str, Any], run_id: str | None = None) -> None:
        self._client = _make_client(folder)
        self._run_id = run_id if self._knows(run_id) else self._begin(folder, name, parameters)

    @property
    def run_id(self) -> str:
        """To go on with later."""
        return str(self._run_id)

    def log(self, row: Round) -> None:
        """Logs a round."""
        from mlflow.entities import Metric

        logged = {f"global/{name}": value for name, value in row["global"].items()}
        for site, values in row["sites"].items():
            logged |= {f"{site}/{name}": value for name, value in values.items()}
        logged |= {name: float(row[name]) for name in ("seconds", "bytes_sent", "bytes_broadcast")}
        now = int(time.time() * 1000)
        metrics = [Metric(key, value, now, row["round"]) for key, value in logged.items() if math.isfinite(value)]
        self._client.log_batch(self._run_id, metrics=metrics)

    def finish(self, *artifacts: Path) -> None:
        """Logs files, and closes the run."""
        for path in artifacts:
            self._client.log_artifact(self._run_id, str(path))
        self._client.set_terminated(self._run_id)

    def _begin(self, folder: Path, name: str, parameters: Mapping[str, Any]) -> str:
        experiment = self._client.get_experiment_by_name(self.EXPERIMENT)
        number = experiment.experiment_id if experiment else self._create(folder)
        run = self._client.create_run(number, run_name=name)
        for key, value in parameters.items():
            self._client.log_param(run.info.run_id, key, value)
        return str(run.info.run_id)

    def _create(self, folder: Path) -> str:
        return str(self._client.create_experiment(self.EXPERIMENT, artifact_location=(folder / "mlruns").as_uri()))

    def _knows(self, run_id: str | None) -> bool:
        from mlflow.exceptions import MlflowException

        if run_id is None:
            return False
        try:
            self._client.update_run(run_id, status="RUNNING")
        except MlflowException:
            return False
        return True


def _make_client(folder: Path) -> Any:
    import os

    from mlflow.tracking import MlflowClient

    from mtmedformer_monai.io.sqlite_uri import sqlite_uri

    folder.mkdir(parents=True, exist_ok=True)
    return MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(folder / "mlflow.db"))
