"""Positions of a network's unit groups in its tensors, and which of them can be used to match a group."""

# n number of units in a group, F number of features

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from typing import NamedTuple

from torch import Tensor

from mtmedformer_monai.layers.permutation_groups import PermutationGroups


class AxisSlot(NamedTuple):
    """Position of a group in a tensor: its units along `axis`, beginning at index `start`."""

    name: str
    axis: int
    start: int
    size: int

    def features(self, tensor: Tensor) -> Tensor:
        """Reshapes the tensor to (n, F): one row per unit, with all numbers that belong to it."""
        return tensor.narrow(self.axis, self.start, self.size).movedim(self.axis, 0).reshape(self.size, -1)


class AxisSlots:
    """All axis slots of some tensors.

    Groups whose blocks contain one another form a tree, identified by its outermost group, the root.

    Args:
        groups: permutation groups of the network.
        shapes: {parameter or buffer: shape} of the tensors to consider.

    Attributes:
        trees: {root: labels of the tree, the root first}, in the order in which the network declares them.
        neighbors: {root: roots of the other trees that share a tensor with it}.
    """

    def __init__(self, groups: PermutationGroups, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._roots = {label: groups.root(label) for label in groups.groups}
        self._axes = {name: groups.axes[name] for name in shapes}
        self._shapes = shapes
        self._slots: dict[str, list[AxisSlot]] = {label: [] for label in groups.groups}
        for name, axes in self._axes.items():
            for index, axis in enumerate(axes):
                for label, start, size in groups.parts(axis):
                    self._slots[label].append(AxisSlot(name, index, start, size))
        self.trees: dict[str, list[str]] = {}
        for label, root in self._roots.items():
            self.trees.setdefault(root, []).append(label)
        self.neighbors = {root: self._neighbors(root) for root in self.trees}

    def usable(self, label: str, settled: Set[str]) -> list[AxisSlot]:
        """Returns a group's slots in tensors whose other axes list only settled trees.

        A tensor that lists a tree along two axes cannot be used to match it: both orders would have to be found at
        once.
        """
        allowed = settled - {self._roots[label]}
        return [slot for slot in self._slots[label] if self._others(slot) <= allowed]

    def is_anchored(self, root: str, settled: Set[str]) -> bool:
        """Returns whether any usable tensor has more than one number per unit, from inputs or settled units."""
        slots = [slot for label in self.trees[root] for slot in self.usable(label, settled)]
        return any(math.prod(self._shapes[slot.name]) > self._shapes[slot.name][slot.axis] for slot in slots)

    def _others(self, slot: AxisSlot) -> set[str]:
        """Returns the roots of the trees on the tensor's other axes."""
        axes = enumerate(self._axes[slot.name])
        return {self._roots[label] for index, axis in axes for label in axis if index != slot.axis}

    def _neighbors(self, root: str) -> set[str]:
        names = {slot.name for label in self.trees[root] for slot in self._slots[label]}
        return {self._roots[label] for name in names for axis in self._axes[name] for label in axis} - {root}
