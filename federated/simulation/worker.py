"""Code of the site processes: one client per site, built once, with its complete state on disk.

Before each round, a client is restored from the state after its last accepted message, so a simulation that was killed
resumes exactly, in any process, and no client counts on a message that was refused or left out.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import Any

from monai.fl.utils.exchange_object import ExchangeObject

from mtmedformer_monai.federated.exchange import ACCEPTED, read_exchange, whole_number, write_exchange
from mtmedformer_monai.federated.message import TensorKind, pick
from mtmedformer_monai.io.atomic_files import load_checkpoint, save_checkpoint

from .bundle_parts import Evaluation
from .history import Metrics
from .model_files import likelihood


@dataclass(frozen=True)
class SiteSpec:
    """A simulated site.

    Attributes:
        name: of the site.
        bundle: folder of the bundle.
        folder: for its state and messages.
        strategy: name, as in `make_strategy`.
        strategy_settings: settings of the strategy.
        local_epochs: number of epochs per round.
        options: `ClientOptions`, by name.
        overrides: of the bundle's config, including its datalist.
    """

    name: str
    bundle: Path
    folder: Path
    strategy: str
    strategy_settings: Mapping[str, Any] = field(default_factory=dict)
    local_epochs: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)


_CLIENTS: dict[Path, Any] = {}
_EVALUATIONS: dict[str, Evaluation] = {}
"""Cached in this process, so that images are read once rather than once per round."""


def start_process(num_threads: int) -> None:
    """Initializes a process: sets its number of threads, silences logging and ends it with its parent."""
    import warnings

    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(num_threads)
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")


def _end_with_parent() -> None:
    """Ends this process when its parent has ended, so that a killed simulation leaves no processes behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def measure_losses(spec: SiteSpec, broadcast: Path) -> Path:
    """Measures a site's initial losses at the common weights; returns the path of its message."""
    exchange = _client(spec).measure_losses(read_exchange(broadcast))
    return write_exchange(exchange, spec.folder / "initial_losses.pt")


def train(spec: SiteSpec, number: int, broadcast: Path) -> Path:
    """Trains one round at a site; returns the path of its message.

    Args:
        spec: the site.
        number: of the round, starting at 1; the client resumes from the state after its last accepted message.
        broadcast: file of the server's broadcast.
    """
    client, sent = _client(spec), read_exchange(broadcast)
    base = _accepted_round(sent)
    if number == 1:
        client.save(_state(spec, 0))  # for a client whose messages are refused or left out
    else:
        client.restore(_state(spec, base))
    client.train(sent)
    path = write_exchange(client.get_weights(), spec.folder / "message.pt")
    client.save(_state(spec, number))
    for old in spec.folder.glob("round_*"):
        if old not in (_state(spec, number), _state(spec, number - 1), _state(spec, base)):
            shutil.rmtree(old, ignore_errors=True)
    return path


def evaluate_site(spec: SiteSpec, broadcast: Path) -> Metrics:
    """Returns metrics of the site's inference weights on its own validation images.

    Args:
        spec: the site.
        broadcast: file of the server's broadcast for this site, after a round.
    """
    sent = read_exchange(broadcast)
    metrics = _restored_client(spec, sent).evaluate(sent).metrics or {}
    return {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}


def evaluate_cohort(bundle: Path, overrides: Mapping[str, Any], weights: Path) -> Metrics:
    """Returns metrics of a network on images of the whole cohort.

    Args:
        bundle: folder of the bundle.
        overrides: of its config, including the datalist.
        weights: file of the network's weights, or of the server's broadcast.
    """
    name = repr(sorted(overrides.items(), key=repr))
    if name not in _EVALUATIONS:
        _EVALUATIONS[name] = Evaluation(bundle, overrides)
    content = load_checkpoint(weights)
    mean = pick(content["weights"], TensorKind.MEAN) if "weights" in content else content
    return _EVALUATIONS[name].run(mean)


def write_client_weights(spec: SiteSpec, broadcast: Path) -> Path:
    """Writes a site's inference weights to `model.pt`, and returns its path.

    Args:
        spec: the site.
        broadcast: file of the server's broadcast for this site, after a round.
    """
    sent, path = read_exchange(broadcast), spec.folder / "model.pt"
    save_checkpoint(dict(_restored_client(spec, sent).inference_weights(sent.weights or {})), path)
    return path


def posterior_likelihood(spec: SiteSpec, broadcast: Path, posterior: Path) -> list[float]:
    """Returns the site's validation likelihood for each temperature of the posterior; see `model_files.likelihood`."""
    from mtmedformer_monai.engines.checkpointing.training_state import bare

    client = _client(spec)
    network = bare(client.evaluator.network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict({**before, **pick(read_exchange(broadcast).weights, TensorKind.MEAN)})
    tasks = client.train_workflow.parser.get_parsed_content("tasks")
    found = likelihood(client.evaluator, tasks, network, posterior)
    network.load_state_dict(before)
    return found


def _state(spec: SiteSpec, number: int) -> Path:
    return spec.folder / f"round_{number}"


def _accepted_round(broadcast: ExchangeObject) -> int:
    """Returns the last round of which the server accepted a message from the site, starting at 1; 0 if none."""
    accepted = whole_number(broadcast, ACCEPTED)
    if accepted is None:
        raise ValueError("a site expects its own broadcast, got one without 'accepted'; send broadcast(name).")
    return accepted + 1


def _restored_client(spec: SiteSpec, broadcast: ExchangeObject) -> Any:
    """Returns the client in the state after its last accepted message."""
    client = _client(spec)
    client.restore(_state(spec, _accepted_round(broadcast)))
    return client


def _client(spec: SiteSpec) -> Any:
    if spec.folder not in _CLIENTS:
        _CLIENTS[spec.folder] = make_client(spec)
    return _CLIENTS[spec.folder]


def make_client(spec: SiteSpec) -> Any:
    """Returns a new, initialized client of a site."""
    from monai.fl.utils.constants import ExtraItems

    from mtmedformer_monai.federated.client.bayesian_monai_algo import BayesianMonaiAlgo

    client = BayesianMonaiAlgo(
        str(spec.bundle),
        spec.strategy,
        spec.local_epochs,
        options=spec.options,
        settings=spec.strategy_settings,
        train_kwargs=dict(spec.overrides),
    )
    client.initialize({ExtraItems.CLIENT_NAME: spec.name})
    return client
