"""FeSTA: heads and tails at the sites, one transformer body at the server.

Park, Kim, Kim, Kim and Ye, "Federated Split Task-Agnostic Vision Transformer for COVID-19 CXR Diagnosis", NeurIPS 2021
(arXiv 2111.01338), algorithm 1. The server sees features and gradients, and no label. What differs is told in
docs/split_learning.md.
"""

from __future__ import annotations

from mtmedformer_monai.networks.mtmedformer import MTMedFormer

from .channel import Observer
from .shared_body_system import Batch, SharedBodySystem
from .split_step import SplitStep
from .system import LocalSettings


class FeSTA(SharedBodySystem):
    """A batch goes head, body, tails; gradients come back the same way.

    In each step the body moves along the mean of all sites' gradients, and heads and tails along their own. Every U
    rounds heads and tails are averaged, a tail over the sites that have labels of its task.

    Args:
        network: to start from.
        settings: of the training.
        unify_every: U.
        alternate: odd rounds train heads and tails with the body held fixed, even rounds the body with heads and tails
            held fixed; else all train in every round, and one site's step is that of the whole network.
        head_stages: stages of a hierarchical encoder that stay at the sites.
        observer: sees all that crosses.
    """

    def __init__(
        self,
        network: MTMedFormer,
        settings: LocalSettings,
        unify_every: int = 1,
        alternate: bool = True,
        head_stages: int = 1,
        observer: Observer | None = None,
    ) -> None:
        super().__init__(network, settings, unify_every, head_stages, observer)
        self._alternate = alternate

    def _phase(self) -> tuple[bool, bool]:
        if not self._alternate:
            return True, True
        return self._number % 2 == 1, self._number % 2 == 0

    def _train(self, name: str, batch: Batch, step: SplitStep) -> None:
        image, targets = batch
        member, size = self._members[name], (image.shape[2], image.shape[3])
        step.run(member.part.start(image), lambda kept, returned: member.loss(kept, returned, targets, size))
