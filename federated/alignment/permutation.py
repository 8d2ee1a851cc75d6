"""Permutations of a network's units: drawn, applied, undone, composed.

A permutation says for each group of units which unit comes to each slot: `new[i] = old[permutation[label][i]]`.
Applied to all tensors that list the group, it leaves what the network computes as it was. It moves numbers and computes
none, so that a diagonal precision, its logarithms' codes, shifts and an optimizer's moments move along exactly.
"""

# n units of a group

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mtmedformer_monai.layers.permutation_groups import PermutationGroups

Permutation = dict[str, Tensor]
"""{label of a group: int64 (n,), which of its units comes to each slot}."""


def identity_permutation(groups: PermutationGroups) -> Permutation:
    """All units where they are."""
    return {label: torch.arange(group.size) for label, group in groups.groups.items()}


def random_permutation(groups: PermutationGroups, generator: torch.Generator | None = None) -> Permutation:
    """All units anywhere: blocks as a whole, and units within their block.

    Args:
        groups: of the network.
        generator: to draw with; default torch's own.
    """
    drawn: Permutation = {}
    for label, group in groups.groups.items():
        blocks = drawn[group.within] if group.within else torch.zeros(1, dtype=torch.int64)
        length = group.size // len(blocks)
        inner = torch.stack([torch.randperm(length, generator=generator) for _ in blocks])
        drawn[label] = (blocks[:, None] * length + inner).flatten()
    return drawn


def is_identity(permutation: Permutation) -> bool:
    """Whether no unit moves."""
    return all(bool((each == torch.arange(len(each))).all()) for each in permutation.values())


def invert(permutation: Permutation) -> Permutation:
    """The permutation that undoes another."""
    return {label: each.argsort() for label, each in permutation.items()}


def compose(first: Permutation, then: Permutation) -> Permutation:
    """The permutation that does one, then another.

    Example:
        >>> compose({"a": torch.tensor([1, 2, 0])}, {"a": torch.tensor([1, 0, 2])})
        {'a': tensor([2, 1, 0])}
    """
    return {label: each[then[label]] for label, each in first.items()}


def permute(tensors: Mapping[str, Tensor], groups: PermutationGroups, permutation: Permutation) -> dict[str, Tensor]:
    """Permutes a state dict, or any tensors that are keyed and shaped like one.

    Args:
        tensors: {parameter or buffer: tensor}; some may be left out.
        groups: of the network.
        permutation: of its groups.

    Returns:
        The same names; tensors that no unit moves in are those that came, not copies.

    Raises:
        KeyError: a name that the network doesn't have.
    """
    unknown = sorted(set(tensors) - set(groups.axes))
    if unknown:
        raise KeyError(f"tensors {unknown} are not in the network that declared its groups; leave them out.")
    moving = {label for label, each in permutation.items() if not is_identity({label: each})}
    return {name: _permute_tensor(tensor, name, groups, permutation, moving) for name, tensor in tensors.items()}


def permute_optimizer(
    optimizer: torch.optim.Optimizer, network: nn.Module, groups: PermutationGroups, permutation: Permutation
) -> None:
    """Permutes what an optimizer remembers of a network's parameters (moments, momentum), in slot.

    Counters and other numbers that are not of a parameter's shape stay.
    """
    for name, parameter in network.named_parameters():
        state = optimizer.state.get(parameter, {})
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[key] = permute({name: value}, groups, permutation)[name]


def _permute_tensor(
    tensor: Tensor, name: str, groups: PermutationGroups, permutation: Permutation, moving: set[str]
) -> Tensor:
    for index, axis in enumerate(groups.axes[name]):
        if not moving.isdisjoint(axis):
            order = torch.cat([permutation[label] + start for label, start, _ in groups.parts(axis)])
            tensor = tensor.index_select(index, order.to(tensor.device))
    return tensor
