"""p-FeSTA: features are sent once, in a patch order known only to the site.

Park and Ye, "Multi-Task Distributed Learning using Vision Transformer with Random Patch Permutation", IEEE TMI 2023
(arXiv 2204.03500). The head is a fixed patch embedding, so its features never change: a site sends them once, with
permuted patches, and the server stores them. The body treats all patches alike, so its outputs are permuted in the same
way; the site restores the order before its pyramid and decoders. docs/split_learning.md lists the differences.
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
"""Prefix of the fixed head's names."""


class PFeSTA(SharedBodySystem):
    """Trains only body and tails, on the batches of each site's first round.

    Args:
        network: initial network, with a `PlainViT`.
        settings: of the training.
        unify_every: U, of the tails.
        seed: of the keys, which each site samples for itself.
        observer: called with all transmitted tensors.

    Raises:
        TypeError: the encoder's body depends on the positions of patches.
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
                "p_festa permutes patches, so the encoder's body must not depend on their positions, got "
                f"{type(network.encoder).__name__}; use a PlainViT as the encoder."
            )
        self._seed = seed
        self._stored: dict[str, list[Tensor]] = {}
        self._kept: dict[str, list[dict[str, Any]]] = {}

    def state_dict(self) -> dict[str, Any]:
        """Also returns the features stored by the server, and the keys and targets of the sites."""
        return {**super().state_dict(), **copy.deepcopy({"stored": self._stored, "kept": self._kept})}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the complete state."""
        super().load_state_dict(state)
        self._stored, self._kept = dict(state["stored"]), dict(state["kept"])

    def _batches(self, site: Site, channel: Channel) -> Iterator[Batch]:
        """Yields indices of the stored batches with the site's targets."""
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
        """Embeds all images, and sends their patches in a random order per image."""
        generator = torch.Generator().manual_seed(self._seed + zlib.crc32(site.name.encode()))
        self._stored[site.name], self._kept[site.name] = [], []
        for image, targets in self._settings.prepared(site.batches):
            patches = self._members[site.name].part.start(image)[-1]
            key = draw_key(patches, generator)
            self._stored[site.name].append(channel.send(shuffle(patches, key), UP, CrossingKind.ONCE))
            size = (image.shape[2], image.shape[3])
            self._kept[site.name].append({"key": key, "targets": targets, "size": size})
