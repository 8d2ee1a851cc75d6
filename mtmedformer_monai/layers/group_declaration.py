"""Declaration of permutation groups by the modules that own the parameters.

A module with parameters has a method

    def permutable(self, declare: Declaration, entering: Axis) -> Axis: ...

which receives the units of its input streams, declares which units each axis of each parameter and buffer indexes, and
returns the units of its output streams. The parent module calls it through `Declaration.child`. `permutation_groups`
collects the declarations of a whole network and raises an error if one of its parameters is not declared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from .permutation_groups import FIXED, Axis, GroupRecord, PermutationGroups


class Declaration:
    """Collects the declaration of one module. Names are relative to the module.

    Args:
        module: module to declare.
        prefix: prefix of its parameters in the network, such as 'encoder.stages.0.'.
        record: record of the whole network.
    """

    def __init__(self, module: nn.Module, prefix: str = "", record: GroupRecord | None = None) -> None:
        self.module = module
        self.record = GroupRecord() if record is None else record
        self._prefix = prefix

    def group(self, name: str, size: int, within: Axis = FIXED, blocks: Sequence[int] = ()) -> Axis:
        """Declares a group of units.

        Args:
            name: name within the module.
            size: number of units.
            within: group whose units are the blocks of this group.
            blocks: sizes of further nested blocks, largest first.

        Returns:
            The axis that indexes the units.
        """
        for block in blocks:
            within = self.group(f"{name}/{block}", size // block, within)
        label = self._prefix + name
        self.record.add_group(label, size, within[0] if within else "")
        return (label,)

    def heads(self, count: int, width: int) -> tuple[Axis, Axis, Axis]:
        """Declares attention heads, which are permuted as a whole, and the channels within each head.

        An attention score is a sum over products of query and key channels, so these form one group. The value
        channels, which are the input of the output layer, form another.

        Returns:
            The heads, their query and key channels, and their value channels.
        """
        heads = self.group("heads", count)
        return heads, self.group("keys", width, heads), self.group("values", width, heads)

    def tensor(self, name: str, *axes: Axis) -> None:
        """Declares what the axes of a parameter or buffer index; omitted trailing axes are fixed.

        Raises:
            ValueError: if the size of an axis differs from its number of units, or the tensor is declared twice.
        """
        owner, _, last = name.rpartition(".")
        tensor: Tensor = getattr(self.module.get_submodule(owner), last)
        self.record.add_tensor(self._prefix + name, tuple(tensor.shape), axes)

    def fixed(self, *names: str) -> None:
        """Declares parameters, buffers or whole submodules whose units must not be permuted."""
        for name, _ in _tensors(self.module):
            if any(name == each or name.startswith(f"{each}.") for each in names):
                self.tensor(name)

    def layer(self, name: str, entering: Axis, leaving: Axis) -> None:
        """Declares a linear layer or an ungrouped convolution, with or without bias."""
        layer = self.module.get_submodule(name)
        if not isinstance(layer, (nn.Linear, nn.Conv2d)) or getattr(layer, "groups", 1) != 1:
            raise TypeError(f"{self._prefix + name!r} expects nn.Linear or an ungrouped nn.Conv2d, got {layer}.")
        self.tensor(f"{name}.weight", leaving, entering)
        if layer.bias is not None:
            self.tensor(f"{name}.bias", leaving)

    def depthwise(self, name: str, stream: Axis) -> None:
        """Declares a depthwise convolution."""
        layer = self.module.get_submodule(name)
        if not isinstance(layer, nn.Conv2d) or not layer.groups == layer.in_channels == layer.out_channels:
            raise TypeError(f"{self._prefix + name!r} expects a depthwise nn.Conv2d, got {layer}.")
        for each, _ in layer.named_parameters():
            self.tensor(f"{name}.{each}", stream)

    def norm(self, name: str, stream: Axis) -> None:
        """Declares a layer norm, or a group norm over a stream whose blocks are the norm's groups.

        Raises:
            ValueError: if a permutation could move units between the groups of a group norm.
        """
        norm = self.module.get_submodule(name)
        if not isinstance(norm, (nn.LayerNorm, nn.GroupNorm)):
            raise TypeError(f"{self._prefix + name!r} expects nn.LayerNorm or nn.GroupNorm, got {norm}.")
        block = norm.num_channels // norm.num_groups if isinstance(norm, nn.GroupNorm) else 0
        if block and not self.record.holds(stream, block):
            raise ValueError(
                f"{self._prefix + name!r} normalizes blocks of {block} channels, but units of {stream} could move to "
                f"another block; declare the group with blocks=[{block}]."
            )
        for each, _ in norm.named_parameters():
            self.tensor(f"{name}.{each}", stream)

    def tie(self, first: Axis, *others: Axis) -> None:
        """Declares that streams index the same units, because they are added or are inputs of the same layer.

        Raises:
            ValueError: if the streams differ in size or blocks.
        """
        for other in others:
            self.record.tie(first, other)

    def child(self, name: str, *streams: Any) -> Any:
        """Calls the `permutable` method of a submodule and returns its result.

        Raises:
            TypeError: if the submodule has no such method.
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
        """Returns the declaration of a submodule, with which a parent declares the submodule's parameters itself."""
        prefix = f"{self._prefix}{name}." if name else self._prefix
        return Declaration(self.module.get_submodule(name), prefix, self.record)


def permutation_groups(network: nn.Module) -> PermutationGroups:
    """Returns the permutation groups of a whole network, from the image to the outputs.

    Raises:
        TypeError: if a module has no declaration.
        ValueError: if a parameter or buffer is declared neither as indexing a group nor as fixed.
    """
    declaration = Declaration(network)
    declaration.child("")
    groups = declaration.record.finish()
    forgotten = [name for name, _ in _tensors(network) if name not in groups.axes]
    if forgotten:
        raise ValueError(f"no declaration contains {forgotten}; declare what their axes index, or that they are fixed.")
    return groups


def _tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Returns all parameters and buffers; shared ones are listed under each of their names."""
    return [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
