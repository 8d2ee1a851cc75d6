"""The scalar that is explained: the log-odds of one class of one classification task."""

# B batch, K classes, L logits; h, w grid of a feature map

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mtmedformer_monai.networks.mtmedformer import SHARED, MTMedFormer
from mtmedformer_monai.tasks.classification import AttentionPooling, ClassificationTask

SMALLEST = 1e-12
"""Probabilities of ordinal classes are kept this far from 0 and 1, so that log-odds stay finite."""


@dataclass(frozen=True)
class Question:
    """What is explained: one class of one task of a network in evaluation mode.

    Attributes:
        network: the image network.
        task: one of its classification tasks.
        class_index: index into the task's classes.
    """

    network: MTMedFormer
    task: ClassificationTask
    class_index: int

    @property
    def decoder(self) -> AttentionPooling:
        """The task's decoder."""
        decoder: AttentionPooling = self.network.decoders[self.task.name]  # type: ignore[assignment]
        return decoder

    def encode(self, image: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Returns the decoder's inputs for images (B, 1, H, W): the encoder's maps and those of its pyramid."""
        features, pyramids = self.network.encode(image)
        return features, self.pyramid_of(pyramids)

    def pyramid_of(self, pyramids: Mapping[str, list[Tensor]]) -> list[Tensor]:
        """Returns the pyramid of the task out of all pyramids."""
        return pyramids[self.task.name if self.task.name in pyramids else SHARED]

    def log_odds(self, logits: Tensor) -> Tensor:
        """Returns log(p / (1 - p)) of the class, (B,), in float64, from the decoder's logits (B, L).

        Log-odds are defined for every kind of classification. For exclusive classes they contrast the class with all
        others, and unlike the probability they have a gradient where the network is certain: they are computed from
        the logits, except for ordinal classes, whose probabilities are differences.
        """
        logits, index = logits.double(), self.class_index
        if self.task.kind == "ordinal":
            return torch.logit(self.task.scheme.probs(logits)[:, index], eps=SMALLEST)
        if self.task.kind == "multilabel":
            return logits[:, index]
        if self.task.kind == "binary":
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        others = [other for other in range(logits.shape[1]) if other != index]
        return logits[:, index] - logits[:, others].logsumexp(dim=1)

    def score(self, image: Tensor) -> Tensor:
        """Returns the log-odds of the class for images (B, 1, H, W), (B,), without running other decoders."""
        return self.log_odds(self.decoder(*self.encode(image), (image.shape[2], image.shape[3])))
