"""A site that joins with weights of its own brings its units into the order of what the server broadcasts."""

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
    """What a network declares; None where a module of it declares nothing, as in stock networks."""
    try:
        return permutation_groups(network)
    except (TypeError, ValueError):
        return None


def join_with_own_weights(
    path: str | Path, trainer: Any, network: nn.Module, reference: Mapping[str, Tensor], precision: Mapping[str, Tensor]
) -> None:
    """Loads a site's own weights into its network, in the order of the reference.

    Args:
        path: of a flat state dict, or of a training state (`SaveCheckpoints`), whose optimizer joins likewise.
        trainer: whose optimizer it is.
        network: of the trainer, without wrappers. Tensors that the file lacks stay.
        reference: the broadcast mean.
        precision: of the broadcast posterior, if there is one.
    """
    content = load_checkpoint(path)
    parts = content.get("parts") if isinstance(content.get("parts"), Mapping) else None
    weights = content if parts is None else parts["network"]
    network.load_state_dict(weights, strict=False)
    if parts is not None:
        trainer.optimizer.load_state_dict(parts["optimizer"])
    groups = groups_of(network)
    if groups is None:
        _logger.warning("The network declares no permutation groups: its own weights join in the order they have.")
        return
    own = {name: value for name, value in network.state_dict().items() if name in groups.axes}
    permutation = align(reference, own, groups, dict(precision) or None)
    network.load_state_dict(permute(own, groups, permutation), strict=False)
    permute_optimizer(trainer.optimizer, network, groups, permutation)
    _logger.info("Joined with own weights: %s", "units moved" if not is_identity(permutation) else "no unit moved")
