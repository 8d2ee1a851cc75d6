"""Splits a multi-task network into head and tails for the sites, and a body for the server.

The head consists of the first layers (the patch embedding, or the stem and the first stages), the body is the
transformer after it, and the tails are the pyramid and one decoder per task. All parts are modules of the network under
their original names: training a part trains the network.
"""

# B batch size, D width, h and w of a feature map

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

from torch import Tensor, nn

from mtmedformer_monai.networks.hierarchical_transformer import HierarchicalTransformer
from mtmedformer_monai.networks.mtmedformer import MTMedFormer
from mtmedformer_monai.networks.plain_vit import PlainViT

PREFIX = "encoder."
"""Prefix of the body's names in the network."""


class ClientEncoder(nn.Module, ABC):
    """The parts of an encoder that remain at the site. The finest feature map comes first."""

    @abstractmethod
    def start(self, x: Tensor) -> list[Tensor]:
        """Maps the input of the encoder to feature maps; the last one is sent to the body."""

    @abstractmethod
    def finish(self, kept: list[Tensor], returned: list[Tensor]) -> list[Tensor]:
        """Returns the encoder's feature maps from those of the head and those of the body."""


class FirstStages(ClientEncoder):
    """The first stages of a hierarchical transformer; their feature maps remain at the site for the pyramid."""

    def __init__(self, stages: nn.ModuleDict) -> None:
        super().__init__()
        self.stages = stages

    def start(self, x: Tensor) -> list[Tensor]:
        """Returns one feature map per stage."""
        return _maps(self.stages, x)

    def finish(self, kept: list[Tensor], returned: list[Tensor]) -> list[Tensor]:
        """Concatenates the lists of feature maps."""
        return [*kept, *returned]


class LastStages(nn.Module):
    """The remaining stages of a hierarchical transformer."""

    def __init__(self, stages: nn.ModuleDict) -> None:
        super().__init__()
        self.stages = stages

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps (B, D, h, w) to one feature map per stage."""
        return _maps(self.stages, x)


class PatchesAndPyramid(ClientEncoder):
    """Patch embedding and pyramid of a plain transformer."""

    def __init__(self, encoder: PlainViT) -> None:
        super().__init__()
        self.patches, self.pyramid = encoder.patches, encoder.pyramid

    def start(self, x: Tensor) -> list[Tensor]:
        """Returns one map of embedded patches."""
        return [self.patches(x)]

    def finish(self, kept: list[Tensor], returned: list[Tensor]) -> list[Tensor]:
        """Returns the pyramid of the body's output."""
        maps: list[Tensor] = self.pyramid(returned[0])
        return maps


class PlainBlocks(nn.Module):
    """The blocks of a plain transformer, which are equivariant to permutations of tokens."""

    def __init__(self, encoder: PlainViT) -> None:
        super().__init__()
        self.body = encoder.body

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps (B, D, h, w) to one feature map of the same shape."""
        return [self.body(x)]


class ClientNetwork(nn.Module):
    """Head and tails.

    Args:
        network: provides pyramids and decoders.
        encoder: the head.
    """

    def __init__(self, network: MTMedFormer, encoder: ClientEncoder) -> None:
        super().__init__()
        self.encoder, self.pyramids, self.decoders = encoder, network.pyramids, network.decoders
        self.stem = network.stem
        methods = copy.copy(network)  # methods of the network on these modules, without a body
        methods._modules = {"pyramids": network.pyramids, "decoders": network.decoders, "stem": network.stem}
        self._methods = [methods]  # in a list, as its parameters are already registered in this module

    def start(self, image: Tensor) -> list[Tensor]:
        """Applies the head: (B, 1, H, W) in [0, 1] to its maps, fine ones first; the last one is sent to the body."""
        entering = self._methods[0].enter(image)
        return entering[: self._methods[0].num_fine] + self.encoder.start(entering[-1])

    def finish(self, kept: list[Tensor], returned: list[Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
        """Applies the tails.

        Args:
            kept: returned by `start`.
            returned: by the body.
            size: (H, W) of the image.

        Returns:
            {task: output}, as the whole network returns it.
        """
        fine, coarse = kept[: self._methods[0].num_fine], kept[self._methods[0].num_fine :]
        features = self.encoder.finish(coarse, returned)
        return self._methods[0].decode(features, self._methods[0].spread(features, fine), size)


class SplitNetwork(nn.Module):
    """A network and its parts, which share their parameters.

    Args:
        network: with a `HierarchicalTransformer` or a `PlainViT`.
        head_stages: number of stages of a hierarchical transformer that remain at the site, at least 1.

    Attributes:
        whole: the network.
        client: head and tails.
        body: (B, D, h, w) to a list of feature maps.

    Raises:
        TypeError: another encoder, or a `PlainViT` with fine maps, whose sites keep no maps.
        ValueError: a cut that leaves no head or no body.
    """

    def __init__(self, network: MTMedFormer, head_stages: int = 1) -> None:
        super().__init__()
        if network.stem is not None and isinstance(network.encoder, PlainViT):
            raise TypeError("split learning of a PlainViT keeps no fine maps at the sites; use detail=False.")
        head, body = _cut(network.encoder, head_stages)
        self.whole, self.client, self.body = network, ClientNetwork(network, head), body

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Applies head, body and tails; equals the whole network."""
        kept = self.client.start(image)
        return self.client.finish(kept, self.body(kept[-1]), (image.shape[2], image.shape[3]))

    def body_names(self) -> list[str]:
        """Returns the names of the body's parameters and buffers in the whole network."""
        return [PREFIX + name for name in self.body.state_dict()]


def _cut(encoder: nn.Module, head_stages: int) -> tuple[ClientEncoder, nn.Module]:
    if isinstance(encoder, PlainViT):
        return PatchesAndPyramid(encoder), PlainBlocks(encoder)
    if isinstance(encoder, HierarchicalTransformer):
        count = len(encoder.stages)
        if not 0 < head_stages < count:
            raise ValueError(f"head_stages expects 1 to {count - 1} of {count} stages, got {head_stages}.")
        stages = [(str(index), stage) for index, stage in enumerate(encoder.stages)]
        return FirstStages(nn.ModuleDict(dict(stages[:head_stages]))), LastStages(
            nn.ModuleDict(dict(stages[head_stages:]))
        )
    raise TypeError(
        f"split learning expects a HierarchicalTransformer or a PlainViT, got {type(encoder).__name__}; use one of "
        "them as the encoder."
    )


def _maps(stages: nn.ModuleDict, x: Tensor) -> list[Tensor]:
    maps: list[Tensor] = []
    for stage in stages.values():
        x = stage(x)
        maps.append(x)
    return maps
