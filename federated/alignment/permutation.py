"""Permutations of a network's units: sampling, application, inversion and composition.

A permutation gives, for each group of units, the unit that moves to each slot: `new[i] = old[permutation[label][i]]`.
Applied to all tensors that list the group, it leaves the network's function unchanged. It only moves numbers, so a
diagonal precision, its logarithmic codes, precision-weighted means and an optimizer's moments are permuted exactly.
"""

# n number of units in a group

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mtmedformer_monai.layers.permutation_groups import PermutationGroups

Permutation = dict[str, Tensor]
"""{label of a group: int64 (n,), index of the unit that moves to each slot}."""


def identity_permutation(groups: PermutationGroups) -> Permutation:
    """Returns the permutation that moves no unit."""
    return {label: torch.arange(group.size) for label, group in groups.groups.items()}


def random_permutation(groups: PermutationGroups, generator: torch.Generator | None = None) -> Permutation:
    """Samples a permutation of blocks, and of units within their blocks.

    Args:
        groups: permutation groups of the network.
        generator: random generator; default torch's global one.
    """
    drawn: Permutation = {}
    for label, group in groups.groups.items():
        blocks = drawn[group.within] if group.within else torch.zeros(1, dtype=torch.int64)
        length = group.size // len(blocks)
        inner = torch.stack([torch.randperm(length, generator=generator) for _ in blocks])
        drawn[label] = (blocks[:, None] * length + inner).flatten()
    return drawn


def is_identity(permutation: Permutation) -> bool:
    """Returns whether no unit moves."""
    return all(bool((each == torch.arange(len(each))).all()) for each in permutation.values())


def invert(permutation: Permutation) -> Permutation:
    """Returns the inverse permutation."""
    return {label: each.argsort() for label, each in permutation.items()}


def compose(first: Permutation, then: Permutation) -> Permutation:
    """Returns the permutation that applies one permutation, then another.

    Example:
        >>> compose({"a": torch.tensor([1, 2, 0])}, {"a": torch.tensor([1, 0, 2])})
        {'a': tensor([2, 1, 0])}
    """
    return {label: each[then[label]] for label, each in first.items()}


def permute(tensors: Mapping[str, Tensor], groups: PermutationGroups, permutation: Permutation) -> dict[str, Tensor]:
    """Permutes a state dict, or other tensors with its names and shapes.

    Args:
        tensors: {parameter or buffer: tensor}; a subset is allowed.
        groups: permutation groups of the network.
        permutation: of its groups.

    Returns:
        {name: permuted tensor}; tensors in which no unit moves are returned without a copy.

    Raises:
        KeyError: a name that the network does not have.
    """
    unknown = sorted(set(tensors) - set(groups.axes))
    if unknown:
        raise KeyError(f"tensors {unknown} are not in the network that declared its groups; remove them.")
    moving = {label for label, each in permutation.items() if not is_identity({label: each})}
    return {name: _permute_tensor(tensor, name, groups, permutation, moving) for name, tensor in tensors.items()}


def permute_optimizer(
    optimizer: torch.optim.Optimizer, network: nn.Module, groups: PermutationGroups, permutation: Permutation
) -> None:
    """Permutes an optimizer's state of a network's parameters (moments, momentum) in place.

    Counters and other values without the parameter's shape are unchanged.
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
