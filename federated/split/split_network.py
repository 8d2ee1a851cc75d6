"""Cutting a multi-task network: head and tails to the sites, body to the server.

The head is what comes first (the patches, or the first stages), the body the transformer behind it, and a tail what
makes outputs of its maps: the pyramid, and a decoder a task. All parts are the network's own modules, under its names:
what trains the one trains the other.
"""

# B batch, D width, h and w of a map

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

from torch import Tensor, nn

from mtmedformer_monai.networks.hierarchical_transformer import HierarchicalTransformer
from mtmedformer_monai.networks.mtmedformer import MTMedFormer
from mtmedformer_monai.networks.plain_vit import PlainViT

PREFIX = "encoder."
"""Of the body's names in the network."""


class ClientEncoder(nn.Module, ABC):
    """The parts of an encoder that stay at the site. Maps are finest first."""

    @abstractmethod
    def start(self, x: Tensor) -> list[Tensor]:
        """The image, as `MTMedFormer.prepare` gives it, to maps; the last one goes to the body."""

    @abstractmethod
    def finish(self, kept: list[Tensor], returned: list[Tensor]) -> list[Tensor]:
        """The encoder's maps, of those that the head kept and those that the body returned."""


class FirstStages(ClientEncoder):
    """The first stages of a hierarchical transformer; their maps stay at the site for the pyramid."""

    def __init__(self, stages: nn.ModuleDict) -> None:
        super().__init__()
        self.stages = stages

    def start(self, x: Tensor) -> list[Tensor]:
        """A map a stage."""
        return _maps(self.stages, x)

    def finish(self, kept: list[Tensor], returned: list[Tensor]) -> list[Tensor]:
        """One after another."""
        return [*kept, *returned]


class LastStages(nn.Module):
    """The other stages of a hierarchical transformer."""

    def __init__(self, stages: nn.ModuleDict) -> None:
        super().__init__()
        self.stages = stages

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, D, h, w) to a map a stage."""
        return _maps(self.stages, x)


class PatchesAndPyramid(ClientEncoder):
    """The two ends of a plain transformer."""

    def __init__(self, encoder: PlainViT) -> None:
        super().__init__()
        self.patches, self.pyramid = encoder.patches, encoder.pyramid

    def start(self, x: Tensor) -> list[Tensor]:
        """One map of patches."""
        return [self.patches(x)]

    def finish(self, kept: list[Tensor], returned: list[Tensor]) -> list[Tensor]:
        """The pyramid of what the body made of them."""
        maps: list[Tensor] = self.pyramid(returned[0])
        return maps


class PlainBlocks(nn.Module):
    """The blocks of a plain transformer, which don't know in which order tokens are listed."""

    def __init__(self, encoder: PlainViT) -> None:
        super().__init__()
        self.body = encoder.body

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, D, h, w) to one map of the same shape."""
        return [self.body(x)]


class ClientNetwork(nn.Module):
    """Head and tails.

    Args:
        network: whose pyramids and decoders these are.
        encoder: the head.
    """

    def __init__(self, network: MTMedFormer, encoder: ClientEncoder) -> None:
        super().__init__()
        self.encoder, self.pyramids, self.decoders = encoder, network.pyramids, network.decoders
        frame = copy.copy(network)  # its methods, over these very modules and no body
        frame._modules = {"pyramids": network.pyramids, "decoders": network.decoders}
        self._frame = [frame]  # in a list: its parameters are this module's already

    def start(self, image: Tensor) -> list[Tensor]:
        """The head: (B, 1, H, W) in [0, 1] to its maps; the last one goes to the body."""
        return self.encoder.start(self._frame[0].prepare(image))

    def finish(self, kept: list[Tensor], returned: list[Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
        """The tails.

        Args:
            kept: of `start`.
            returned: of the body.
            size: (H, W) of the image.

        Returns:
            {task: output}, as the whole network gives them.
        """
        features = self.encoder.finish(kept, returned)
        return self._frame[0].decode(features, self._frame[0].spread(features), size)


class SplitNetwork(nn.Module):
    """A network and its parts, of one set of parameters.

    Args:
        network: with a `HierarchicalTransformer` or a `PlainViT`.
        head_stages: stages of a hierarchical transformer that stay at the site, from 1 on.

    Attributes:
        whole: the network.
        client: head and tails.
        body: (B, D, h, w) to a list of maps.

    Raises:
        TypeError: another encoder.
        ValueError: a cut that leaves no head or no body.
    """

    def __init__(self, network: MTMedFormer, head_stages: int = 1) -> None:
        super().__init__()
        head, body = _cut(network.encoder, head_stages)
        self.whole, self.client, self.body = network, ClientNetwork(network, head), body

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Head, body and tails in turn: what the whole network computes."""
        kept = self.client.start(image)
        return self.client.finish(kept, self.body(kept[-1]), (image.shape[2], image.shape[3]))

    def body_names(self) -> list[str]:
        """Names of the body's parameters and buffers in the whole network."""
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
        f"cutting a network expects a HierarchicalTransformer or a PlainViT, got {type(encoder).__name__}; choose one "
        "of them as the encoder."
    )


def _maps(stages: nn.ModuleDict, x: Tensor) -> list[Tensor]:
    maps: list[Tensor] = []
    for stage in stages.values():
        x = stage(x)
        maps.append(x)
    return maps
