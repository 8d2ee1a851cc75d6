"""Which units of a network may change places without changing what it computes, and which tensors list them.

A group is a set of units (channels, hidden units, heads) whose order is arbitrary: all tensors that list them have to
list them in one order, and any order will do. Units may be held together in blocks by another group: the channels of an
attention head, or of a group of a group norm. Then blocks change places as a whole, and units change places within
their block: the automorphisms of a tree.

Modules declare them through `mtmedformer_monai.layers.group_declaration`; docs/permutations.md has an example.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Axis = tuple[str, ...]
"""What an axis of a tensor lists: the units of one group, or of several one after another, by label."""

FIXED: Axis = ()
"""An axis whose order matters: an input, an output, a place in a kernel."""


class Group(NamedTuple):
    """Units that may change places.

    Attributes:
        size: how many units.
        within: label of the group whose units are this group's blocks, in order and of equal size; '' if there is none.
    """

    size: int
    within: str = ""


@dataclass(frozen=True)
class PermutationGroups:
    """What a network declares.

    Attributes:
        groups: {label: group}, a group after the one that it stands within, else on the way from input to output.
        axes: {parameter or buffer: what its axes list}; axes left out at the end are fixed.
    """

    groups: Mapping[str, Group]
    axes: Mapping[str, tuple[Axis, ...]]

    def parts(self, axis: Axis) -> Iterator[tuple[str, int, int]]:
        """The groups of an axis: label, where its units start, how many they are."""
        start = 0
        for label in axis:
            yield label, start, self.groups[label].size
            start += self.groups[label].size

    def root(self, label: str) -> str:
        """The outermost group that holds a group's units together; the group itself if none does."""
        while self.groups[label].within:
            label = self.groups[label].within
        return label


@dataclass
class GroupRecord:
    """What was declared so far, under full names.

    Attributes:
        groups: {label: group}, those that were tied to others included.
        axes: {parameter or buffer: what its axes list}.
        same: {label: the label that it was tied to}.
    """

    groups: dict[str, Group] = field(default_factory=dict)
    axes: dict[str, tuple[Axis, ...]] = field(default_factory=dict)
    same: dict[str, str] = field(default_factory=dict)

    def add_group(self, label: str, size: int, within: str = "") -> None:
        """Adds a group.

        Raises:
            ValueError: the label is taken, or blocks would be of unequal size.
        """
        if label in self.groups:
            raise ValueError(f"group {label!r} is declared twice; give each a name of its own.")
        if within and size % self.groups[within].size:
            raise ValueError(f"group {label!r} expects a multiple of {self.groups[within].size} blocks, got {size}.")
        self.groups[label] = Group(size, within)

    def add_tensor(self, name: str, shape: tuple[int, ...], axes: tuple[Axis, ...]) -> None:
        """Adds a parameter or buffer.

        Raises:
            ValueError: it was added before, or an axis lists another number of units.
        """
        if name in self.axes:
            raise ValueError(f"{name!r} is declared twice.")
        for index, axis in enumerate(axes):
            size = sum(self.groups[label].size for label in axis)
            if axis and (index >= len(shape) or size != shape[index]):
                raise ValueError(f"{name!r} of shape {shape}: axis {index} can't list {axis}, which are {size} units.")
        self.axes[name] = axes

    def tie(self, first: Axis, second: Axis) -> None:
        """Makes two streams one.

        Raises:
            ValueError: streams of different make.
        """
        pairs = [(self._find(one), self._find(two)) for one, two in zip(first, second, strict=False)]
        if len(first) != len(second) or any(self._make(one) != self._make(two) for one, two in pairs):
            raise ValueError(f"streams {first} and {second} can't be tied: they differ in size or blocks.")
        for one, two in pairs:
            while one != two:
                self.same[two] = one
                one, two = self._find(self.groups[one].within), self._find(self.groups[two].within)

    def holds(self, stream: Axis, block: int) -> bool:
        """Whether no unit of a stream can leave its block of so many neighbors."""
        start = 0
        for label in stream:
            size = self.groups[label].size
            held = start % block == 0 and block in self._make(label)
            if not held and start % block + size > block:
                return False
            start += size
        return True

    def finish(self) -> PermutationGroups:
        """All that was declared, tied labels made one."""
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
        """A group's size, and those of the blocks that hold its units together, innermost first."""
        size, sizes, within = self.groups[label].size, [], self.groups[label].within
        while within:
            sizes.append(size // self.groups[within].size)
            within = self.groups[within].within
        return [size, *sizes]
