"""Weights of a file from which a training or a federation starts (`start_from`)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events
from torch import Tensor, nn

from mtmedformer_monai.io.atomic_files import load_checkpoint

from .training_state import bare

_logger = logging.getLogger(__name__)


class LoadInitialWeights:
    """Loads those weights of a file that the network has, when the trainer's first run starts.

    The file may have other tasks, or those of a pretraining: what it lacks keeps its random values. MONAI's
    CheckpointLoader, not strict, reports success for a file of which nothing fits, too.

    Args:
        network: network that is trained, also inside DistributedDataParallel or `torch.compile`.
        path: file of the weights, such as `<bundle_root>/models/model.pt`.
    """

    def __init__(self, network: nn.Module, path: str) -> None:
        self._network = network
        self._path = path
        self._done = False

    def attach(self, engine: Engine) -> None:
        """Registers the handler on a trainer."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self) -> None:
        """Loads the weights in the first run.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file does not hold the weights of such a network.
        """
        if self._done:
            return
        self._done = True
        network = bare(self._network)
        wanted = network.state_dict()
        found = read_initial_weights(self._path, wanted)
        network.load_state_dict(found, strict=False)
        _logger.info("Training starts from %d of %d tensors, which %s has.", len(found), len(wanted), self._path)


def read_initial_weights(path: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns those weights of a file that a network has.

    Args:
        path: file of a flat state dict.
        weights: state dict of the network.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has a tensor of another shape, or none of the encoder's (of the network's, if it has no
            encoder).
    """
    content = load_checkpoint(path)
    common, other = shared_weights(weights, content if isinstance(content, Mapping) else {})
    basis = [name for name in weights if "encoder" in name.split(".")] or list(weights)
    if other:
        problem = f"{len(other)} tensors of another shape, such as {other[0]!r},"
    elif isinstance(content, Mapping) and {"format", "parts"} <= set(content):
        problem = "a training state"
    elif not any(name in common for name in basis):
        problem = "none of its weights" if not common else "none of its encoder's weights"
    else:
        return common
    raise ValueError(
        f"start_from expects weights of the bundle's network, got {problem} in {path}; use its model.pt, or the "
        "options of the network with which the file was trained."
    )


def shared_weights(weights: Mapping[str, Tensor], found: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[str]]:
    """Returns those tensors of a file that a network has, in its types, and the names of those of another shape."""
    common = {name: found[name] for name in weights if isinstance(found.get(name), Tensor)}
    other = [name for name, value in common.items() if value.shape != weights[name].shape]
    return {name: value.to(weights[name].dtype) for name, value in common.items()}, other
