"""How modules declare their permutation groups: beside the layers that own the parameters.

A module with parameters has a method

    def permutable(self, declare: Declaration, entering: Axis) -> Axis: ...

that is given the units of the streams that enter it, says for each axis of each of its parameters and buffers which
units it lists, and returns the units of the streams that leave it. Its parent calls it through `Declaration.child`.
`permutation_groups` asks a whole network, and refuses one with a parameter that nobody named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from .permutation_groups import FIXED, Axis, GroupRecord, PermutationGroups


class Declaration:
    """What one module writes its declaration on. Names are the module's own.

    Args:
        module: that declares.
        prefix: of its parameters in the network, such as 'encoder.stages.0.'.
        record: of the whole network.
    """

    def __init__(self, module: nn.Module, prefix: str = "", record: GroupRecord | None = None) -> None:
        self.module = module
        self.record = GroupRecord() if record is None else record
        self._prefix = prefix

    def group(self, name: str, size: int, within: Axis = FIXED, blocks: Sequence[int] = ()) -> Axis:
        """Declares units.

        Args:
            name: in the module.
            size: how many there are.
            within: a group that holds them together in blocks.
            blocks: sizes of (further) blocks, each a part of the one before; largest first.

        Returns:
            The axis that lists them.
        """
        for block in blocks:
            within = self.group(f"{name}/{block}", size // block, within)
        label = self._prefix + name
        self.record.add_group(label, size, within[0] if within else "")
        return (label,)

    def heads(self, count: int, width: int) -> tuple[Axis, Axis, Axis]:
        """Declares attention heads: they change places as a whole, and channels within a head.

        A score sums over the products of a head's query and key channels, so these two are one group; its value
        channels are another, which the output layer reads.

        Returns:
            The heads, their query-key channels, and their value channels.
        """
        heads = self.group("heads", count)
        return heads, self.group("keys", width, heads), self.group("values", width, heads)

    def tensor(self, name: str, *axes: Axis) -> None:
        """Says what the axes of a parameter or buffer list; axes left out at the end are fixed.

        Raises:
            ValueError: an axis lists another number of units, or the tensor is declared twice.
        """
        owner, _, last = name.rpartition(".")
        tensor: Tensor = getattr(self.module.get_submodule(owner), last)
        self.record.add_tensor(self._prefix + name, tuple(tensor.shape), axes)

    def fixed(self, *names: str) -> None:
        """Says of parameters, buffers, or all that a submodule has, that none of their units may move."""
        for name, _ in _tensors(self.module):
            if any(name == each or name.startswith(f"{each}.") for each in names):
                self.tensor(name)

    def layer(self, name: str, entering: Axis, leaving: Axis) -> None:
        """Declares a linear layer or a plain convolution, with or without bias."""
        layer = self.module.get_submodule(name)
        if not isinstance(layer, (nn.Linear, nn.Conv2d)) or getattr(layer, "groups", 1) != 1:
            raise TypeError(f"{self._prefix + name!r} expects nn.Linear or an ungrouped nn.Conv2d, got {layer}.")
        self.tensor(f"{name}.weight", leaving, entering)
        if layer.bias is not None:
            self.tensor(f"{name}.bias", leaving)

    def depthwise(self, name: str, stream: Axis) -> None:
        """Declares a convolution of each channel by itself."""
        layer = self.module.get_submodule(name)
        if not isinstance(layer, nn.Conv2d) or not layer.groups == layer.in_channels == layer.out_channels:
            raise TypeError(f"{self._prefix + name!r} expects a depthwise nn.Conv2d, got {layer}.")
        for each, _ in layer.named_parameters():
            self.tensor(f"{name}.{each}", stream)

    def norm(self, name: str, stream: Axis) -> None:
        """Declares a layer norm, or a group norm over a stream whose blocks are the norm's groups.

        Raises:
            ValueError: units could leave their group of a group norm.
        """
        norm = self.module.get_submodule(name)
        if not isinstance(norm, (nn.LayerNorm, nn.GroupNorm)):
            raise TypeError(f"{self._prefix + name!r} expects nn.LayerNorm or nn.GroupNorm, got {norm}.")
        block = norm.num_channels // norm.num_groups if isinstance(norm, nn.GroupNorm) else 0
        if block and not self.record.holds(stream, block):
            raise ValueError(
                f"{self._prefix + name!r} normalizes blocks of {block} channels, but units of {stream} could leave "
                f"theirs; declare the group with blocks=[{block}]."
            )
        for each, _ in norm.named_parameters():
            self.tensor(f"{name}.{each}", stream)

    def tie(self, first: Axis, *others: Axis) -> None:
        """Makes streams list the same units: those that are added, or that one and the same layer reads.

        Raises:
            ValueError: streams that differ in size or blocks.
        """
        for other in others:
            self.record.tie(first, other)

    def child(self, name: str, *streams: Any) -> Any:
        """Lets a submodule declare itself; returns what its `permutable` returns.

        Raises:
            TypeError: it has no such method.
        """
        inner = self.inside(name)
        permutable = getattr(inner.module, "permutable", None)
        if permutable is None:
            raise TypeError(
                f"{self._prefix + name!r}: {type(inner.module).__name__} declares no permutation groups; give it a "
                "method permutable(declare, ...), or mark it as fixed (docs/permutations.md)."
            )
        return permutable(inner, *streams)

    def inside(self, name: str) -> Declaration:
        """The declaration of a submodule, for a parent that speaks for it."""
        prefix = f"{self._prefix}{name}." if name else self._prefix
        return Declaration(self.module.get_submodule(name), prefix, self.record)


def permutation_groups(network: nn.Module) -> PermutationGroups:
    """Asks a whole network, from image to outputs, for its permutation groups.

    Raises:
        TypeError: a module without a declaration.
        ValueError: a parameter or buffer that nobody named, neither as listing a group nor as fixed.
    """
    declaration = Declaration(network)
    declaration.child("")
    groups = declaration.record.finish()
    forgotten = [name for name, _ in _tensors(network) if name not in groups.axes]
    if forgotten:
        raise ValueError(f"no declaration names {forgotten}; say what their axes list, or that they are fixed.")
    return groups


def _tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    """All parameters and buffers; those that several modules share, under each name."""
    return [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
