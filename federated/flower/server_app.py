"""Flower's app of the server. Its run configuration names the server's own file and the settings of the federation."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from mtmedformer_monai.federated.job.local_file import local_site
from mtmedformer_monai.federated.job.results import write_results
from mtmedformer_monai.federated.job.session import open_session
from mtmedformer_monai.federated.job.settings import JobSettings
from mtmedformer_monai.federated.strategies import with_num_rounds

from .messages import read_json, to_arrays
from .strategy import SessionStrategy

SERVER_FILE: Final = "server-file"
NUM_SITES: Final = "num-sites"
STRATEGY_SETTINGS: Final = "strategy-settings"
NUMBERS = ("num-rounds", "local-epochs", "seed", "min-sites", "round-timeout")

logger = logging.getLogger("mtmedformer")

app = ServerApp()


@app.main()  # type: ignore[untyped-decorator]
def run(grid: Grid, context: Context) -> None:
    """Runs the remaining rounds and writes the final model; the same command resumes a run that was killed."""
    config = context.run_config
    path = Path(str(config.get(SERVER_FILE, "")))
    server = local_site(path, path.with_suffix(""))
    settings = read_settings(config)
    session = open_session(settings, server)
    strategy = SessionStrategy(session, settings, int(config.get(NUM_SITES, 2)))
    strategy.prepare(grid)
    while (left := session.aggregator.rounds_left(settings.num_rounds)) > 0:
        weights = to_arrays(session.aggregator.broadcast().weights or {})
        strategy.start(grid, weights, left, settings.round_timeout or None)
    logger.info("Wrote %s.", ", ".join(str(each) for each in write_results(session.aggregator, settings, server)))


def read_settings(config: Mapping[str, Any]) -> JobSettings:
    """Returns the settings in a run configuration.

    Raises:
        ValueError: a value out of range, or `strategy-settings` that are not a JSON object.
    """
    numbers: dict[str, Any] = {name.replace("-", "_"): int(config[name]) for name in NUMBERS if name in config}
    own = read_json(str(config.get(STRATEGY_SETTINGS, "{}")), STRATEGY_SETTINGS)
    size = int(config.get("image-size", 0))
    strategy, num_rounds = str(config.get("strategy", "bayesian")), numbers.get("num_rounds", JobSettings.num_rounds)
    return JobSettings(
        strategy=strategy,
        strategy_settings=with_num_rounds(strategy, own, num_rounds),
        image_size=(size, size) if size else (),
        **numbers,
    )
