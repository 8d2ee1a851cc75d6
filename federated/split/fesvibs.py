"""FeSViBS: one token comes back from the server, made of a block that is drawn anew each round.

Almalik, Alkhunaizi, Almakky and Nandakumar, "FeSViBS: Federated Split Learning of Vision Transformer with Block
Sampling", MICCAI 2023 (arXiv 2306.14638), and its public code for how blocks are drawn: one a client and round, evenly
among the first half. Its optional noise on the features is left out: it is added without bounding the features first,
so it guarantees no privacy whatever its size. What else differs is told in docs/split_learning.md.
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
    """The body is left after the drawn block, whose tokens become one pseudo class token for the site's tails.

    Args:
        network: to start from, with a `PlainViT`.
        settings: of the training.
        unify_every: U, of heads and tails.
        blocks: first and last of the blocks to draw from, counted from 1; default from 1 to half of them.
        seed: of the draws.
        observer: sees all that crosses.

    Raises:
        TypeError: an encoder whose blocks have different widths.
        ValueError: blocks that the body doesn't have.
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
            raise ValueError(f"blocks expects first and last out of 1 to {depth}, got {self._range}.")
        self._seed = seed

    def network(self, site: str = "") -> nn.Module:
        """Also with the projection.

        Args:
            site: whose block of the last round to use, besides its head and tails; '' uses the last of the range.
        """
        split = copy.deepcopy(self._split)
        split.client.load_state_dict(self._client_weights(site))
        num_blocks = self.block_of(site) if site else self._range[1]
        body = copy.deepcopy(self._token_body)
        return PseudoTokenNetwork(split.client, body, num_blocks).requires_grad_(True)

    def block_of(self, site: str) -> int:
        """The block that is drawn for a site in the present round, counted from 1."""
        return random.Random(f"{self._seed}/{self._number}/{site}").randint(*self._range)

    def _body_module(self) -> nn.Module:
        body, encoder = self._split.body, self._split.whole.encoder
        if not isinstance(body, PlainBlocks):
            raise TypeError(
                f"fesvibs draws among blocks of one width, which {type(encoder).__name__} doesn't have; choose a "
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
