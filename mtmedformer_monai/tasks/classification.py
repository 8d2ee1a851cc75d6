"""Classes of a whole image: binary, multi-class, multi-label or ordinal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtmedformer_monai.keys import LABELS, UNCERTAINTY
from mtmedformer_monai.layers.group_declaration import Declaration
from mtmedformer_monai.layers.permutation_groups import FIXED, Axis
from mtmedformer_monai.metrics.classification import ClassificationMetric

from .applicability import check_condition
from .base import Task, TaskMetric
from .known_classes import (
    KnownClasses,
    exclusive_annotated,
    exclusive_loss,
    known_labels_annotated,
    known_labels_loss,
)
from .label_schemes import SCHEMES
from .likelihoods import bernoulli_nll, categorical_nll
from .reading import named
from .sample_average import (
    average_sigmoid,
    average_softmax,
    class_entropy,
    combine_sigmoids,
    information_of,
    std_of_samples,
)

NUM_STAGES = 2
"""Encoder stages that the pooling looks at, the coarsest."""


class AttentionPooling(nn.Module):
    """One learned query a task attends over tokens of the two coarsest stages and of a pyramid map.

    (Touvron et al., class attention, ICCV 2021, without the MLP.) The pyramid's map carries what masks and boxes have
    taught, at a resolution where small findings still show.

    Args:
        channels: of all encoder maps, finest first.
        num_outputs: logits.
        width: D of the pyramid; pooled vectors are twice as wide.
        pyramid_level: index of the pyramid's map.
        num_heads: attention heads.
        dropout: of the pooled vector.
    """

    def __init__(
        self,
        channels: Sequence[int],
        num_outputs: int,
        width: int,
        pyramid_level: int = 1,
        num_heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.pyramid_level = pyramid_level
        pyramid_width, width = width, 2 * width
        self.projections = nn.ModuleList(nn.Linear(count, width) for count in channels[-NUM_STAGES:])
        self.pyramid_projection = nn.Linear(pyramid_width, width)
        self.norm = nn.LayerNorm(width)
        self.query = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)
        self.output_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Linear(width, num_outputs)

    def forward(self, features: list[Tensor], pyramid: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Returns logits (B, K)."""
        return self.classify(self.pool(self.tokenize(features, pyramid), None))

    def tokenize(self, features: list[Tensor], pyramid: list[Tensor]) -> Tensor:
        """What the query looks at: (B, N, D)."""
        first = len(features) - len(self.projections)
        tokens: list[Tensor] = []
        for index, projection in enumerate(self.projections):
            tokens.append(projection(features[first + index].flatten(2).transpose(1, 2)))
        tokens.append(self.pyramid_projection(pyramid[self.pyramid_level].flatten(2).transpose(1, 2)))
        return self.norm(torch.cat(tokens, dim=1))

    def classify(self, pooled: Tensor) -> Tensor:
        """(B, D) to logits (B, K)."""
        logits: Tensor = self.logits(self.dropout(self.output_norm(pooled)))
        return logits

    def pool(self, tokens: Tensor, absent: Tensor | None) -> Tensor:
        """(B, N, D) to (B, D), without the tokens that are absent: bool (B, N).

        As one query asks all tokens, the key layer is applied to the query and the value layer to what was gathered,
        instead of both to every token: the same numbers for a fraction of the work. The keys' bias adds the same to
        the score of every token, which a softmax doesn't see.
        """
        width = tokens.shape[2]
        depth = width // self.num_heads
        layers = self.key_value.weight.reshape(2, self.num_heads, depth, width)
        asked = torch.matmul(self.query.reshape(self.num_heads, 1, depth), layers[0]).squeeze(1) * depth**-0.5
        scores = torch.matmul(tokens, asked.transpose(0, 1))
        if absent is not None:
            scores = scores.masked_fill(absent.unsqueeze(2), -1e4)  # finite: a group may be all absent
        shares = scores.softmax(dim=1)
        gathered = torch.matmul(shares.transpose(1, 2), tokens)
        values = torch.matmul(layers[1], gathered.unsqueeze(3)).flatten(1)
        return self.output(values + self.key_value.bias[width:])

    def permutable(self, declare: Declaration, features: list[Axis], pyramid: list[Axis]) -> Axis:
        """The tokens' channels, the heads, and the pooled vector's channels; classes keep their order.

        Returns:
            The tokens' channels.
        """
        width = self.output.in_features
        tokens = declare.group("tokens", width)
        first = len(features) - len(self.projections)
        for index in range(len(self.projections)):
            declare.layer(f"projections.{index}", features[first + index], tokens)
        declare.layer("pyramid_projection", pyramid[self.pyramid_level], tokens)
        declare.norm("norm", tokens)
        _, keys, values = declare.heads(self.num_heads, width)
        declare.tensor("query", FIXED, FIXED, keys)
        declare.layer("key_value", tokens, keys + values)
        pooled = declare.group("pooled", width)
        declare.layer("output", values, pooled)
        declare.norm("output_norm", pooled)
        declare.layer("logits", pooled, FIXED)
        return tokens


class ClassificationTask(Task):
    """One label, or one set of labels, an image.

    Args:
        name: task name, the key of a datalist item's `labels`.
        classes: K class names, in order for an ordinal task.
        kind: 'binary', 'multiclass', 'multilabel' or 'ordinal'.
        weight: fixed weight of the loss.
        dropout: of the pooled feature.
        applies_if: {"task", "class", "probability"}: below this probability of another task's class the reading says
            'not applicable'; see `applicability.py`. Loss and metrics don't heed it.

    Raises:
        ValueError: unknown kind, classes that don't fit it, or a condition of another form.
    """

    primary_metric = "auc"
    pyramid_levels = (1,)
    describes_image = True

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        kind: str = "multiclass",
        weight: float = 1.0,
        dropout: float = 0.1,
        applies_if: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name, weight)
        if kind not in SCHEMES:
            raise ValueError(f"task {name!r} expects kind to be one of {sorted(SCHEMES)}, got {kind!r}.")
        if len(set(classes)) != len(classes) or not classes:
            raise ValueError(f"task {name!r} expects classes of different names, got {classes}.")
        self.classes = list(classes)
        self.kind = kind
        self.scheme = SCHEMES[kind]
        try:
            self.num_logits = self.scheme.num_logits(len(classes))
        except ValueError as error:
            raise ValueError(f"task {name!r}: {error}") from error
        self.dropout = dropout
        self.applies_if = check_condition(name, applies_if)

    def make_decoder(self, channels: Sequence[int], strides: Sequence[int], width: int) -> nn.Module:
        """Builds an `AttentionPooling`."""
        level = self.pyramid_levels[0]
        return AttentionPooling(channels, self.num_logits, width, pyramid_level=level, dropout=self.dropout)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The scheme's cross-entropy over annotated entries.

        Args:
            output: logits (B, L).
            target: (B,) class index, or (B, K) for a multi-label task; NaN where not annotated.

        Raises:
            ValueError: a class index out of range.
        """
        self._check(target)
        return self.scheme.loss(output, target.float())

    def activate(self, output: Tensor) -> Tensor:
        """Logits (..., L) to probabilities (..., K)."""
        return self.scheme.probs(output.float())

    def make_metric(self) -> TaskMetric:
        """AUC, F1, accuracy and calibration error."""
        return ClassificationMetric(self.classes, self.kind)

    def encode_target(self, item: Mapping[str, Any], image_size: tuple[int, int]) -> Tensor:
        """Class name (or names) to index () or indicator (K,); NaN without label."""
        label = (item.get(LABELS) or {}).get(self.name)
        if label is None:
            return self.scheme.missing(len(self.classes))
        try:
            return self.scheme.encode(label, self.classes)
        except ValueError as error:
            raise ValueError(f"task {self.name!r}: {error}") from error

    def describe(self, output: Tensor) -> dict[str, Any]:
        """{'probs': {class: 0..1}, 'class': the likeliest} ('classes': those from 0.5 on, if multi-label)."""
        probs = {name: round(value, 6) for name, value in zip(self.classes, output.tolist(), strict=True)}
        if self.kind == "multilabel":
            return {"probs": probs, "classes": [name for name, value in probs.items() if value >= 0.5]}
        return {"probs": probs, "class": max(probs, key=lambda name: probs[name])}

    def describe_target(self, target: Tensor) -> dict[str, Any]:
        """{'class': name}, or for a multi-label task {'classes': those that are known to be there}."""
        if bool(torch.isnan(target).all()):
            return {}
        if self.kind == "multilabel":
            known = zip(self.classes, target.tolist(), strict=True)
            return {"classes": [name for name, value in known if value > 0.5]}  # NaN is not above
        return {"class": self.classes[int(target)]}

    def negative_log_likelihood(self, output: Tensor, target: Tensor) -> Tensor:
        """Categorical, or one Bernoulli per class of a multi-label task."""
        if self.kind == "multilabel":
            return bernoulli_nll(output.float(), target.float())
        return categorical_nll(self.activate(output), target.float())

    def combine_samples(self, samples: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """`entropy`, `mutual_information` (B,) or, multi-label, (B, K); `std` of each probability (B, K)."""
        if self.kind == "multilabel":
            return combine_sigmoids(samples)
        if self.kind == "ordinal":  # cumulative logits as the activation reads them
            samples = samples.cummin(dim=-1).values
        joint = average_softmax(samples) if self.kind == "multiclass" else average_sigmoid(samples)
        probs, entropy = self.activate(samples), class_entropy(self.activate(joint))
        information = information_of(entropy, class_entropy(probs))
        return joint, {"entropy": entropy, "mutual_information": information, "std": std_of_samples(probs)}

    def describe_uncertainty(
        self, finding: dict[str, Any], output: Tensor, measures: Mapping[str, Tensor], to_source: Tensor
    ) -> dict[str, Any]:
        """Adds `entropy` and `mutual_information` in nats (multi-label: by class), and `std` of each probability."""
        joint = {
            name: named(self.classes, measures[name]) if measures[name].ndim else round(float(measures[name]), 6)
            for name in ("entropy", "mutual_information")
        }
        return finding | {UNCERTAINTY: {**joint, "std": named(self.classes, measures["std"])}}

    def last_layer(self, decoder: nn.Module) -> nn.Linear | None:
        """The pooling's `logits`."""
        return decoder.logits if isinstance(decoder, AttentionPooling) else None

    def restrict(self, known: Sequence[str]) -> Task:
        """Exclusive classes compete among the known ones; unknown labels of a multi-label task are not annotated."""
        indices = [index for index, name in enumerate(self.classes) if name in known]
        if self.kind == "multilabel":
            return KnownClasses(self, indices, known_labels_loss, known_labels_annotated)
        return KnownClasses(self, indices, exclusive_loss, exclusive_annotated)

    def _check(self, target: Tensor) -> None:
        known = target[~torch.isnan(target)]
        highest = 1 if self.kind == "multilabel" else len(self.classes) - 1
        if known.numel() and (known.min() < 0 or known.max() > highest):
            worst = known.max().item() if known.max() > highest else known.min().item()
            raise ValueError(
                f"task {self.name!r} expects targets in 0..{highest}, got {worst:g}; "
                f"give labels by name out of {self.classes} in the datalist."
            )
