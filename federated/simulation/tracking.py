"""MLflow tracking of a simulation: one run, with one step per round."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtmedformer_monai.engines.handlers.mlflow_store import (
    ensure_experiment,
    log_metrics,
    parameter_texts,
    reopen_run,
    store_uri,
)

from .history import Round


class SimulationTracker:
    """Logs each round's metrics as `global/<metric>` and `<site>/<metric>`, and the files at the end.

    Args:
        folder: where `mlflow.db` and `mlruns` are created, unless MLFLOW_TRACKING_URI is set.
        name: of the run.
        parameters: logged once.
        run_id: of a run to resume.
    """

    EXPERIMENT = "mtmedformer_federation"

    def __init__(self, folder: Path, name: str, parameters: Mapping[str, Any], run_id: str | None = None) -> None:
        from mlflow.tracking import MlflowClient

        folder.mkdir(parents=True, exist_ok=True)
        self._client = MlflowClient(store_uri(folder, os.environ.get("MLFLOW_TRACKING_URI")))
        run = reopen_run(self._client, run_id) or self._begin(folder, name, parameters)
        self._run_id = str(run.info.run_id)

    @property
    def run_id(self) -> str:
        """Identifier of the run, to resume it later."""
        return self._run_id

    def log(self, row: Round) -> None:
        """Logs a round."""
        metrics = {f"{site}/{name}": value for site, found in row["sites"].items() for name, value in found.items()}
        metrics |= {f"global/{name}": value for name, value in row["global"].items()}  # whatever sites are called
        metrics |= {name: float(row[name]) for name in ("seconds", "bytes_sent", "bytes_broadcast")}
        log_metrics(self._client, self._run_id, metrics, row["round"])

    def finish(self, *artifacts: Path) -> None:
        """Logs files and closes the run."""
        for path in artifacts:
            self._client.log_artifact(self._run_id, str(path))
        self._client.set_terminated(self._run_id)

    def _begin(self, folder: Path, name: str, parameters: Mapping[str, Any]) -> Any:
        experiment = ensure_experiment(self._client, self.EXPERIMENT, folder / "mlruns")
        run = self._client.create_run(experiment, run_name=name)
        for key, value in parameter_texts(parameters).items():
            self._client.log_param(run.info.run_id, key, value)
        return run
