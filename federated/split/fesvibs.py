"""FeSViBS: the server returns one token, computed from a block that is sampled in each round.

Almalik, Alkhunaizi, Almakky and Nandakumar, "FeSViBS: Federated Split Learning of Vision Transformer with Block
Sampling", MICCAI 2023 (arXiv 2306.14638). The sampling follows its public code: one block per client and round,
uniformly from the first half. The optional noise on the features is omitted: it is added without bounding the features
first, so it guarantees no privacy at any scale. docs/split_learning.md lists further differences.
"""

from __future__ import annotations

import copy
import random

from torch import Tensor, nn

from mtmedformer_monai.networks.mtmedformer import MTMedFormer

from .channel import Observer
from .pseudo_token import PseudoTokenBody, PseudoTokenNetwork, with_token
from .shared_body_system import Batch, SharedBodySystem
from .split_network import PlainBlocks
from .split_step import SplitStep
from .system import LocalSettings


class FeSViBS(SharedBodySystem):
    """Exits the body after the sampled block; its tokens become one pseudo class token for the site's tails.

    Args:
        network: initial network, with a `PlainViT`.
        settings: of the training.
        unify_every: U, of heads and tails.
        blocks: first and last block of the sampling range, starting at 1; default 1 to half the depth.
        seed: of the sampling.
        observer: called with all transmitted tensors.

    Raises:
        TypeError: the encoder's blocks have different widths.
        ValueError: blocks that the body does not have.
    """

    def __init__(
        self,
        network: MTMedFormer,
        settings: LocalSettings,
        unify_every: int = 1,
        blocks: tuple[int, int] | None = None,
        seed: int = 0,
        observer: Observer | None = None,
    ) -> None:
        super().__init__(network, settings, unify_every, observer=observer)
        depth = len(self._token_body.blocks.body.blocks)
        self._range = blocks or (1, max(depth // 2, 1))
        if not 1 <= self._range[0] <= self._range[1] <= depth:
            raise ValueError(f"blocks expects (first, last) between 1 and {depth}, got {self._range}.")
        self._seed = seed

    def network(self, site: str = "") -> nn.Module:
        """Returns a copy of the network, including the projection.

        Args:
            site: whose head, tails and block of the last round to use; '' uses the last block of the range.
        """
        split = copy.deepcopy(self._split)
        split.client.load_state_dict(self._client_weights(site))
        num_blocks = self.block_of(site) if site else self._range[1]
        body = copy.deepcopy(self._token_body)
        return PseudoTokenNetwork(split.client, body, num_blocks).requires_grad_(True)

    def block_of(self, site: str) -> int:
        """Returns the block sampled for a site in the current round, starting at 1."""
        return random.Random(f"{self._seed}/{self._number}/{site}").randint(*self._range)

    def _body_module(self) -> nn.Module:
        body, encoder = self._split.body, self._split.whole.encoder
        if not isinstance(body, PlainBlocks):
            raise TypeError(
                f"fesvibs expects an encoder whose blocks have the same width, got {type(encoder).__name__}; use a "
                "PlainViT as the encoder."
            )
        self._token_body = PseudoTokenBody(body, body.body.norm.normalized_shape[0])
        return self._token_body

    def _body(self, name: str, features: Tensor) -> list[Tensor]:
        return [self._token_body(features, self.block_of(name))]

    def _train(self, name: str, batch: Batch, step: SplitStep) -> None:
        image, targets = batch
        member, size = self._members[name], (image.shape[2], image.shape[3])
        step.run(
            member.part.start(image),
            lambda kept, returned: member.loss(kept, [with_token(kept[-1], returned[0])], targets, size),
        )
