"""A token for a whole image, made of the tokens of any block.

Almalik et al., MICCAI 2023, section 2: the projection network that all blocks share, a residual convolution and a mean
over patches. Group norm stands for its batch norm, whose statistics would mix the sites.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mtmedformer_monai.layers.conv_block import ConvNormAct

from .split_network import ClientNetwork, PlainBlocks


class PseudoToken(nn.Module):
    """(B, D, h, w) to (B, D, 1, 1).

    Args:
        width: D, a multiple of 8.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = ConvNormAct(width)

    def forward(self, features: Tensor) -> Tensor:
        """The mean over patches of what the convolution made of them."""
        return F.gelu(features + self.convolution(features)).mean(dim=(2, 3), keepdim=True)


class PseudoTokenBody(nn.Module):
    """Some blocks of a plain transformer, and the token of what they give.

    Args:
        blocks: the whole body.
        width: D.
    """

    def __init__(self, blocks: PlainBlocks, width: int) -> None:
        super().__init__()
        self.blocks, self.projection = blocks, PseudoToken(width)

    def forward(self, patches: Tensor, num_blocks: int) -> Tensor:
        """(B, D, h, w) to (B, D, 1, 1).

        Args:
            patches: of the head.
            num_blocks: how many blocks to go through.
        """
        token: Tensor = self.projection(self.blocks.body(patches, num_blocks))
        return token


class PseudoTokenNetwork(nn.Module):
    """Head, some blocks, pseudo token and tails, to evaluate.

    Args:
        client: head and tails.
        body: of the server.
        num_blocks: that it goes through.
    """

    def __init__(self, client: ClientNetwork, body: PseudoTokenBody, num_blocks: int) -> None:
        super().__init__()
        self.client, self.body, self.num_blocks = client, body, num_blocks

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(B, 1, H, W) to {task: output}."""
        kept = self.client.start(image)
        returned = with_token(kept[-1], self.body(kept[-1], self.num_blocks))
        return self.client.finish(kept, [returned], (image.shape[2], image.shape[3]))


def with_token(patches: Tensor, token: Tensor) -> Tensor:
    """What tails look at: the site's own patches (B, D, h, w), each with the image's token (B, D, 1, 1) added.

    Decoders of masks and boxes need a place for what they say, which one token doesn't have.
    """
    return patches + token
