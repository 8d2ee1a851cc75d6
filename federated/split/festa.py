"""FeSTA: heads and tails at the sites, a shared transformer body at the server.

Park, Kim, Kim, Kim and Ye, "Federated Split Task-Agnostic Vision Transformer for COVID-19 CXR Diagnosis", NeurIPS 2021
(arXiv 2111.01338), algorithm 1. The server receives features and gradients, but no labels. docs/split_learning.md lists
the differences.
"""

from __future__ import annotations

from mtmedformer_monai.networks.mtmedformer import MTMedFormer

from .channel import Observer
from .shared_body_system import Batch, SharedBodySystem
from .split_step import SplitStep
from .system import LocalSettings


class FeSTA(SharedBodySystem):
    """Passes a batch through head, body and tails; gradients flow back the same way.

    In each step, the body is updated with the mean gradient over the sites, and heads and tails with their own
    gradients. Every U rounds, heads and tails are averaged, each tail over the sites that have labels of its task.

    Args:
        network: initial network.
        settings: of the training.
        unify_every: U.
        alternate: whether odd rounds train heads and tails with a frozen body, and even rounds the body with frozen
            heads and tails. Otherwise all parts train in every round, and the step of a single site equals that of the
            whole network.
        head_stages: number of stages of a hierarchical encoder that remain at the sites.
        observer: called with all transmitted tensors.
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
