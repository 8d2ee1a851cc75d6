"""What runs in a site's process: a client a site, built once, with all that it must not forget on disk.

Before each round a client is put back to where the round before left it, so that a simulation that is killed goes on
exactly, in whatever process.
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

from mtmedformer_monai.federated.exchange import to_exchange
from mtmedformer_monai.federated.strategy import TensorKind, key, pick
from mtmedformer_monai.io.atomic_files import load_checkpoint, save_checkpoint

from .bundle_parts import Evaluation
from .history import Metrics
from .model_files import likelihood


@dataclass(frozen=True)
class SiteSpec:
    """A simulated site.

    Attributes:
        name: of the site.
        bundle: the bundle's folder.
        folder: for its state and its messages.
        strategy: name, as of `make_strategy`.
        strategy_settings: its settings.
        local_epochs: in a round.
        options: `ClientOptions`, by name.
        overrides: of the bundle's config, its datalist among them.
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
"""Of this process: images are read once, not once a round."""


def start_process(num_threads: int) -> None:
    """What a process does first: takes its share of the cores, keeps quiet, and sees to it that it ends."""
    import warnings

    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(num_threads)
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone: a killed simulation leaves none behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def measure_losses(spec: SiteSpec, broadcast: Path) -> Path:
    """A site's initial losses at the common weights; path of its message."""
    exchange = _client(spec).measure_losses(read_exchange(broadcast))
    return _write(exchange, spec.folder / "initial_losses.pt")


def train(spec: SiteSpec, number: int, broadcast: Path) -> Path:
    """One round of a site; path of its message.

    Args:
        spec: the site.
        number: of the round, from 1 on; what the round before left is taken up.
        broadcast: file of what the server sent.
    """
    client = _client(spec)
    if number > 1:
        client.restore(_state(spec, number - 1))
    client.train(read_exchange(broadcast))
    path = _write(client.get_weights(), spec.folder / "message.pt")
    client.save(_state(spec, number))
    shutil.rmtree(_state(spec, number - 2), ignore_errors=True)
    return path


def evaluate_site(spec: SiteSpec, broadcast: Path) -> Metrics:
    """Metrics on the site's own validation images of the weights that it would infer with."""
    metrics = _client(spec).evaluate(read_exchange(broadcast)).metrics or {}
    return {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}


def evaluate_cohort(bundle: Path, overrides: Mapping[str, Any], broadcast: Path) -> Metrics:
    """Metrics of broadcast weights on images that no site has to itself.

    Args:
        bundle: the bundle's folder.
        overrides: of its config, the datalist among them.
        broadcast: file of what the server sent, or of weights.
    """
    name = repr(sorted(overrides.items(), key=repr))
    if name not in _EVALUATIONS:
        _EVALUATIONS[name] = Evaluation(bundle, overrides)
    return _EVALUATIONS[name].run(read_exchange(broadcast))


def write_client_weights(spec: SiteSpec, number: int, broadcast: Path) -> Path:
    """Writes the weights that a site infers with after a round, in a broadcast's form; path of the file."""
    client = _client(spec)
    client.restore(_state(spec, number))
    weights = client.inference_weights(read_exchange(broadcast).weights or {})
    path = spec.folder / "weights.pt"
    save_checkpoint({"weights": {key(TensorKind.MEAN, name): value for name, value in weights.items()}}, path)
    return path


def posterior_likelihood(spec: SiteSpec, broadcast: Path, posterior: Path) -> list[float]:
    """What a site's validation images say of the posterior's temperature; see `model_files`."""
    from mtmedformer_monai.engines.checkpointing.training_state import bare

    client = _client(spec)
    network = bare(client.evaluator.network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict({**before, **pick(read_exchange(broadcast).weights, TensorKind.MEAN)})
    tasks = client.train_workflow.parser.get_parsed_content("tasks")
    found = likelihood(client.evaluator, tasks, network, posterior)
    network.load_state_dict(before)
    return found


def read_exchange(path: Path) -> Any:
    """The ExchangeObject of a file."""
    content = load_checkpoint(path)
    return to_exchange(content["weights"], content.get("statistics", {}))


def write_exchange(exchange: Any, path: Path) -> Path:
    """Writes an ExchangeObject as plain tensors and numbers."""
    told = {str(getattr(name, "value", name)): value for name, value in (exchange.statistics or {}).items()}
    save_checkpoint({"weights": dict(exchange.weights or {}), "statistics": told}, path)
    return path


_write = write_exchange


def _state(spec: SiteSpec, number: int) -> Path:
    return spec.folder / f"round_{number}"


def _client(spec: SiteSpec) -> Any:
    if spec.folder not in _CLIENTS:
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
        _CLIENTS[spec.folder] = client
    return _CLIENTS[spec.folder]
