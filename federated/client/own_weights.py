"""Alignment of a client that joins with its own weights to the broadcast network."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mtmedformer_monai.federated.alignment.align import align
from mtmedformer_monai.federated.alignment.permutation import is_identity, permute, permute_optimizer
from mtmedformer_monai.io.atomic_files import load_checkpoint
from mtmedformer_monai.layers.group_declaration import permutation_groups
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

_logger = logging.getLogger(__name__)


def groups_of(network: nn.Module) -> PermutationGroups | None:
    """Returns a network's permutation groups; None if any module declares none, as in stock networks."""
    try:
        return permutation_groups(network)
    except (TypeError, ValueError):
        return None


def join_with_own_weights(
    path: str | Path, trainer: Any, network: nn.Module, reference: Mapping[str, Tensor], precision: Mapping[str, Tensor]
) -> None:
    """Loads a client's own weights into its network, permuted into the reference's order of units.

    Args:
        path: file of a flat state dict, or of a training state (`SaveCheckpoints`), whose optimizer state is permuted,
            too.
        trainer: whose optimizer is restored.
        network: of the trainer, without wrappers. Tensors missing in the file keep their values.
        reference: the broadcast mean.
        precision: of the broadcast posterior; empty if there is none.
    """
    content = load_checkpoint(path)
    parts = content.get("parts") if isinstance(content.get("parts"), Mapping) else None
    weights = content if parts is None else parts["network"]
    network.load_state_dict(weights, strict=False)
    if parts is not None:
        trainer.optimizer.load_state_dict(parts["optimizer"])
    groups = groups_of(network)
    if groups is None:
        _logger.warning("The network declares no permutation groups, so the client's own weights are not aligned.")
        return
    own = {name: value for name, value in network.state_dict().items() if name in groups.axes}
    permutation = align(reference, own, groups, dict(precision) or None)
    network.load_state_dict(permute(own, groups, permutation), strict=False)
    permute_optimizer(trainer.optimizer, network, groups, permutation)
    outcome = "units were not permuted" if is_identity(permutation) else "units were permuted"
    _logger.info("Joined with own weights: %s.", outcome)
