"""p-FeSTA: features sent once, in an order that only the site knows.

Park and Ye, "Multi-Task Distributed Learning using Vision Transformer with Random Patch Permutation", IEEE TMI 2023
(arXiv 2204.03500). The head is a fixed patch embedding, so its features never change: a site sends them once, their
patches shuffled, and the server keeps them. The body treats patches alike, so what it returns is shuffled the same way;
the site puts it back in order before its pyramid and decoders. What differs is told in docs/split_learning.md.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from mtmedformer_monai.networks.mtmedformer import MTMedFormer

from .channel import UP, Channel, CrossingKind, Observer
from .patch_key import draw_key, shuffle, unshuffle
from .shared_body_system import Batch, SharedBodySystem
from .split_network import PlainBlocks
from .split_step import SplitStep
from .system import LocalSettings, Site

HEAD = "encoder.patches."
"""Of the names of the fixed head."""


class PFeSTA(SharedBodySystem):
    """Only body and tails learn. Batches are those of a site's first round, whatever its loader would give later.

    Args:
        network: to start from, with a `PlainViT`.
        settings: of the training.
        unify_every: U, of the tails.
        seed: of the keys, which each site draws for itself.
        observer: sees all that crosses.

    Raises:
        TypeError: an encoder whose body tells patches apart by their place.
    """

    def __init__(
        self,
        network: MTMedFormer,
        settings: LocalSettings,
        unify_every: int = 1,
        seed: int = 0,
        observer: Observer | None = None,
    ) -> None:
        super().__init__(network, settings, unify_every, observer=observer)
        if not isinstance(self._split.body, PlainBlocks):
            raise TypeError(
                f"p_festa permutes patches, which {type(network.encoder).__name__} would notice by its convolutions; "
                "choose a PlainViT as the encoder."
            )
        self._seed = seed
        self._stored: dict[str, list[Tensor]] = {}
        self._kept: dict[str, list[dict[str, Any]]] = {}

    def state_dict(self) -> dict[str, Any]:
        """Also what the server stores (features) and what the sites keep to themselves (keys, targets)."""
        return {**super().state_dict(), **copy.deepcopy({"stored": self._stored, "kept": self._kept})}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores all of it."""
        super().load_state_dict(state)
        self._stored, self._kept = dict(state["stored"]), dict(state["kept"])

    def _batches(self, site: Site, channel: Channel) -> Iterator[Batch]:
        """Numbers of the stored batches, with the site's targets."""
        if site.name not in self._stored:
            self._store(site, channel)
        for number, kept in enumerate(self._kept[site.name]):
            yield torch.tensor(number), kept["targets"]

    def _train(self, name: str, batch: Batch, step: SplitStep) -> None:
        number, targets = int(batch[0]), batch[1]
        member, kept = self._members[name], self._kept[name][number]

        def loss_of(returned: list[Tensor]) -> Tensor:
            ordered = [unshuffle(each, kept["key"]) for each in returned]
            return member.loss([], ordered, targets, kept["size"])

        step.from_server(self._stored[name][number], loss_of)

    def _crosses(self, name: str) -> bool:
        return not name.startswith(HEAD)

    @torch.no_grad()
    def _store(self, site: Site, channel: Channel) -> None:
        """Embeds all images, and sends their patches in an order drawn for each image."""
        generator = torch.Generator().manual_seed(self._seed + zlib.crc32(site.name.encode()))
        self._stored[site.name], self._kept[site.name] = [], []
        for image, targets in self._settings.prepared(site.batches):
            patches = self._members[site.name].part.start(image)[-1]
            key = draw_key(patches, generator)
            self._stored[site.name].append(channel.send(shuffle(patches, key), UP, CrossingKind.ONCE))
            size = (image.shape[2], image.shape[3])
            self._kept[site.name].append({"key": key, "targets": targets, "size": size})
