"""The server's session of a federation, for every engine that has `JobSettings` and the server's own file."""

from __future__ import annotations

from pathlib import Path

from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.server_session import ServerSession
from mtmedformer_monai.federated.simulation.bundle_parts import check_bundle_overrides, initial_weights
from mtmedformer_monai.federated.sites_file import Site
from mtmedformer_monai.federated.strategies import make_strategy

from .settings import JobSettings


def open_session(settings: JobSettings, server: Site) -> ServerSession:
    """Returns the server's session, resumed if its output folder has a state.

    Raises:
        ValueError: an override of the settings is not an id of the server's bundle, or the state is another
            federation's.
    """
    check_bundle_overrides(Path(server.bundle), settings.overrides)
    strategy = make_strategy(settings.strategy, **settings.strategy_settings)
    overrides = {**settings.common_overrides(), **server.overrides}
    weights = initial_weights(Path(server.bundle), overrides, settings.seed)
    # The job's own clients send no plain weights, which are not screened and weigh more than theirs.
    return ServerSession(Aggregator(strategy, weights, plain_precision=None), Path(server.output), settings.lasting())
