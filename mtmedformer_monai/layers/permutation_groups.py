"""Permutation groups: units of a network that can be permuted without changing its function.

A group is a set of units (channels, hidden units, heads) whose order is arbitrary as long as all tensors that they
index use the same order. Another group can divide the units into blocks, such as the channels of an attention head or
of a group of a group norm. Blocks are then permuted as a whole, and units are permuted within their block, so the
permutations are the automorphisms of a tree.

Modules declare their groups with `mtmedformer_monai.layers.group_declaration`; docs/permutations.md has an example.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Axis = tuple[str, ...]
"""Labels of the groups that an axis of a tensor indexes: one group, or several that are concatenated."""

FIXED: Axis = ()
"""An axis whose order is significant, such as network inputs, network outputs and kernel positions."""


class Group(NamedTuple):
    """A group of permutable units.

    Attributes:
        size: number of units.
        within: label of the group whose units are the blocks of this group, in order and of equal size; '' if none.
    """

    size: int
    within: str = ""


@dataclass(frozen=True)
class PermutationGroups:
    """All permutation groups of a network.

    Attributes:
        groups: {label: group}, ordered from input to output, each group after the one that contains its blocks.
        axes: {parameter or buffer: what its axes index}; omitted trailing axes are fixed.
    """

    groups: Mapping[str, Group]
    axes: Mapping[str, tuple[Axis, ...]]

    def parts(self, axis: Axis) -> Iterator[tuple[str, int, int]]:
        """Yields label, start and size of each group that an axis indexes."""
        start = 0
        for label in axis:
            yield label, start, self.groups[label].size
            start += self.groups[label].size

    def root(self, label: str) -> str:
        """Returns the outermost group that contains a group's blocks; the group itself if there is none."""
        while self.groups[label].within:
            label = self.groups[label].within
        return label


@dataclass
class GroupRecord:
    """Declarations of a network, under full names.

    Attributes:
        groups: {label: group}, including tied groups.
        axes: {parameter or buffer: what its axes index}.
        same: {label: label that it is tied to}.
    """

    groups: dict[str, Group] = field(default_factory=dict)
    axes: dict[str, tuple[Axis, ...]] = field(default_factory=dict)
    same: dict[str, str] = field(default_factory=dict)

    def add_group(self, label: str, size: int, within: str = "") -> None:
        """Adds a group.

        Raises:
            ValueError: if the label exists already, or blocks would have unequal sizes.
        """
        if label in self.groups:
            raise ValueError(f"group {label!r} is declared twice; use unique names.")
        if within and size % self.groups[within].size:
            raise ValueError(f"group {label!r} expects a multiple of {self.groups[within].size} blocks, got {size}.")
        self.groups[label] = Group(size, within)

    def add_tensor(self, name: str, shape: tuple[int, ...], axes: tuple[Axis, ...]) -> None:
        """Adds a parameter or buffer.

        Raises:
            ValueError: if it was added before, or the size of an axis differs from its number of units.
        """
        if name in self.axes:
            raise ValueError(f"{name!r} is declared twice.")
        for index, axis in enumerate(axes):
            size = sum(self.groups[label].size for label in axis)
            if axis and (index >= len(shape) or size != shape[index]):
                raise ValueError(f"{name!r} of shape {shape}: axis {index} can't index {axis}, which has {size} units.")
        self.axes[name] = axes

    def tie(self, first: Axis, second: Axis) -> None:
        """Declares that two streams index the same units.

        Raises:
            ValueError: if they differ in size or blocks.
        """
        pairs = [(self._find(one), self._find(two)) for one, two in zip(first, second, strict=False)]
        if len(first) != len(second) or any(self._make(one) != self._make(two) for one, two in pairs):
            raise ValueError(f"streams {first} and {second} can't be tied: they differ in size or blocks.")
        for one, two in pairs:
            while one != two:
                self.same[two] = one
                one, two = self._find(self.groups[one].within), self._find(self.groups[two].within)

    def holds(self, stream: Axis, block: int) -> bool:
        """Whether every permutation keeps the units of a stream within consecutive blocks of size `block`."""
        start = 0
        for label in stream:
            size = self.groups[label].size
            held = start % block == 0 and block in self._make(label)
            if not held and start % block + size > block:
                return False
            start += size
        return True

    def finish(self) -> PermutationGroups:
        """Returns the permutation groups, with tied labels merged."""
        groups = {
            label: Group(group.size, self._find(group.within))
            for label, group in self.groups.items()
            if label not in self.same
        }
        axes = {
            name: tuple(tuple(self._find(label) for label in axis) for axis in each) for name, each in self.axes.items()
        }
        return PermutationGroups(groups, axes)

    def _find(self, label: str) -> str:
        while label in self.same:
            label = self.same[label]
        return label

    def _make(self, label: str) -> list[int]:
        """Returns the size of a group and the sizes of its nested blocks, innermost first."""
        size, sizes, within = self.groups[label].size, [], self.groups[label].within
        while within:
            sizes.append(size // self.groups[within].size)
            within = self.groups[within].within
        return [size, *sizes]
