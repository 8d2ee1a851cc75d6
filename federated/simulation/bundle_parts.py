"""Parts of a bundle that a simulation needs besides its trainer: the initial network and an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mtmedformer_monai.engines.checkpointing.initial_weights import read_initial_weights
from mtmedformer_monai.engines.config_options import check_overrides
from mtmedformer_monai.federated.message import Weights
from mtmedformer_monai.io.config_text import config_text

from .history import Metrics

CONFIGS = ("train", "federated")


def read_bundle(bundle: Path, overrides: Mapping[str, Any]) -> Any:
    """Returns the config parser of a bundle's federated training.

    Args:
        bundle: folder of the bundle.
        overrides: {id: value}.
    """
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config([str(bundle / f"configs/{name}.json") for name in CONFIGS])
    parser.update({"bundle_root": config_text(bundle), **overrides})
    return parser


def check_bundle_overrides(bundle: Path, names: Iterable[str]) -> None:
    """Checks that each override is an id of a bundle's federated training.

    Args:
        bundle: folder of the bundle.
        names: ids that are overridden.

    Raises:
        ValueError: an override is mistyped; the message names the closest known id.
    """
    configs = bundle / "configs"
    check_overrides(names, [configs / f"{name}.json" for name in CONFIGS], configs)


def initial_weights(bundle: Path, overrides: Mapping[str, Any], seed: int) -> Weights:
    """Returns all parameters and buffers of a bundle's initial network.

    They are random, except for those in the file of the option `start_from`, such as the bundle's own weights; the file
    may have other tasks.

    Args:
        bundle: folder of the bundle.
        overrides: {id: value}.
        seed: of the random ones.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file does not hold the weights of such a network.
    """
    from monai.utils import set_determinism

    set_determinism(seed)
    parser = read_bundle(bundle, overrides)
    network = parser.get_parsed_content("network_def")
    weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
    path = parser.get_parsed_content("start_from") if "start_from" in parser else ""
    return weights | read_initial_weights(path, weights) if path else weights


def primary_metrics(bundle: Path) -> list[str]:
    """Returns the name of each task's primary metric."""
    tasks = read_bundle(bundle, {}).get_parsed_content("tasks")
    return [f"{task.name}_{task.primary_metric}" for task in tasks]


class Evaluation:
    """The bundle's own evaluator on some images.

    Args:
        bundle: folder of the bundle.
        overrides: of its config, including the datalist and its section.
    """

    def __init__(self, bundle: Path, overrides: Mapping[str, Any]) -> None:
        self._evaluator = read_bundle(bundle, overrides).get_parsed_content("validate#evaluator")

    def run(self, weights: Weights) -> Metrics:
        """Returns metrics of the network with these weights."""
        self._evaluator.network.load_state_dict(weights)
        return self._evaluate()

    def run_network(self, network: nn.Module) -> Metrics:
        """Returns metrics of a network."""
        before, self._evaluator.network = self._evaluator.network, network.eval()
        found = self._evaluate()
        self._evaluator.network = before
        return found

    def _evaluate(self) -> Metrics:
        self._evaluator.run()
        metrics = self._evaluator.state.metrics
        return {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
