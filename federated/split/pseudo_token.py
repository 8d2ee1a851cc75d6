"""One pseudo class token per image, computed from the tokens of any block.

Almalik et al., MICCAI 2023, section 2: the projection network shared by all blocks, a residual convolution and a mean
over patches. Group norm replaces its batch norm, whose statistics would mix the sites.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mtmedformer_monai.layers.conv_block import ConvNormAct

from .split_network import ClientNetwork, PlainBlocks


class PseudoToken(nn.Module):
    """Projects (B, D, h, w) to (B, D, 1, 1).

    Args:
        width: D, a multiple of 8.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = ConvNormAct(width)

    def forward(self, features: Tensor) -> Tensor:
        """Returns the mean over patches after the residual convolution."""
        return F.gelu(features + self.convolution(features)).mean(dim=(2, 3), keepdim=True)


class PseudoTokenBody(nn.Module):
    """The first blocks of a plain transformer, and the token of their output.

    Args:
        blocks: the whole body.
        width: D.
    """

    def __init__(self, blocks: PlainBlocks, width: int) -> None:
        super().__init__()
        self.blocks, self.projection = blocks, PseudoToken(width)

    def forward(self, patches: Tensor, num_blocks: int) -> Tensor:
        """Maps (B, D, h, w) to (B, D, 1, 1).

        Args:
            patches: of the head.
            num_blocks: number of blocks to apply.
        """
        token: Tensor = self.projection(self.blocks.body(patches, num_blocks))
        return token


class PseudoTokenNetwork(nn.Module):
    """Head, first blocks, pseudo token and tails, for evaluation.

    Args:
        client: head and tails.
        body: of the server.
        num_blocks: number of its blocks to apply.
    """

    def __init__(self, client: ClientNetwork, body: PseudoTokenBody, num_blocks: int) -> None:
        super().__init__()
        self.client, self.body, self.num_blocks = client, body, num_blocks

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Maps (B, 1, H, W) to {task: output}."""
        kept = self.client.start(image)
        returned = with_token(kept[-1], self.body(kept[-1], self.num_blocks))
        return self.client.finish(kept, [returned], (image.shape[2], image.shape[3]))


def with_token(patches: Tensor, token: Tensor) -> Tensor:
    """Returns the tails' input: the site's own patches (B, D, h, w) plus the image's token (B, D, 1, 1).

    Decoders of masks and boxes need spatial positions, which a single token does not have.
    """
    return patches + token
