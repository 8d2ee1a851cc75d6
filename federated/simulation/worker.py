"""Code of the site processes: one `SiteSession` per site, whose client is built once and whose state is on disk.

A simulation that was killed therefore resumes exactly, in any process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai.fl.utils.constants import ExtraItems

from mtmedformer_monai.federated.client.bayesian_monai_algo import BayesianMonaiAlgo
from mtmedformer_monai.federated.exchange import read_exchange, write_exchange
from mtmedformer_monai.federated.message import TensorKind, pick
from mtmedformer_monai.federated.site_session import MESSAGE, SiteSession
from mtmedformer_monai.io.atomic_files import load_checkpoint

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


_SESSIONS: dict[Path, SiteSession] = {}
_EVALUATIONS: dict[str, Evaluation] = {}
"""Cached in this process, so that images are read once rather than once per round."""


def measure_losses(spec: SiteSpec, broadcast: Path) -> Path:
    """Measures a site's initial losses at the common weights; returns the path of its message.

    Args:
        spec: the site.
        broadcast: file of the server's broadcast for this site.
    """
    exchange = _session(spec).measure(read_exchange(broadcast))
    return write_exchange(exchange, spec.folder / "initial_losses.pt")


def train(spec: SiteSpec, broadcast: Path) -> Path:
    """Trains one round at a site; returns the path of its message.

    Args:
        spec: the site.
        broadcast: file of the server's broadcast for this site.
    """
    _session(spec).train(read_exchange(broadcast))
    return spec.folder / MESSAGE


def evaluate_site(spec: SiteSpec, broadcast: Path) -> Metrics:
    """Writes the site's inference weights, and returns their metrics on its own validation images.

    Args:
        spec: the site; the weights are in its folder, see `site_session.MODEL`.
        broadcast: file of the server's broadcast for this site, after a round.
    """
    return _session(spec).evaluate(read_exchange(broadcast))


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


def posterior_likelihood(spec: SiteSpec, broadcast: Path, posterior: Path) -> list[float]:
    """Returns the site's validation likelihood for each temperature of the posterior; see `model_files.likelihood`."""
    from mtmedformer_monai.engines.checkpointing.training_state import bare

    client = _session(spec).client
    network = bare(client.evaluator.network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict({**before, **pick(read_exchange(broadcast).weights, TensorKind.MEAN)})
    tasks = client.train_workflow.parser.get_parsed_content("tasks")
    found = likelihood(client.evaluator, tasks, network, posterior)
    network.load_state_dict(before)
    return found


def _session(spec: SiteSpec) -> SiteSession:
    if spec.folder not in _SESSIONS:
        _SESSIONS[spec.folder] = SiteSession(lambda: make_client(spec), spec.folder)
    return _SESSIONS[spec.folder]


def make_client(spec: SiteSpec) -> BayesianMonaiAlgo:
    """Returns a new, initialized client of a site."""
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
