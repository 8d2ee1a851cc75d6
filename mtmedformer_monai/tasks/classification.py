"""Classification of whole images: binary, multi-class, multi-label or ordinal."""

from __future__ import annotations

import copy
import math
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
from .operating import check_thresholds, decide, decided_classes
from .reading import named
from .sample_average import (
    average_sigmoid,
    average_softmax,
    class_entropy,
    combine_sigmoids,
    mutual_information,
    std_of_samples,
)

NUM_STAGES = 2
"""Number of encoder stages that the pooling uses, the coarsest ones."""


class AttentionPooling(nn.Module):
    """Attention pooling by one learned query over tokens of the two coarsest stages and of one pyramid level.

    It corresponds to class attention (Touvron et al., ICCV 2021) without the MLP. The pyramid level contributes
    features learned from masks and boxes, at a resolution at which small findings are still visible.

    Args:
        channels: channels of all encoder maps, finest first.
        num_outputs: number of logits.
        width: width D of the pyramid; pooled vectors are twice as wide.
        pyramid_level: index of the pyramid level.
        num_heads: number of attention heads.
        dropout: dropout rate of the pooled vector.
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
        """Returns the tokens that the query attends to, (B, N, D)."""
        first = len(features) - len(self.projections)
        tokens: list[Tensor] = []
        for index, projection in enumerate(self.projections):
            tokens.append(projection(features[first + index].flatten(2).transpose(1, 2)))
        tokens.append(self.pyramid_projection(pyramid[self.pyramid_level].flatten(2).transpose(1, 2)))
        return self.norm(torch.cat(tokens, dim=1))

    def classify(self, pooled: Tensor) -> Tensor:
        """Maps pooled vectors (B, D) to logits (B, K)."""
        logits: Tensor = self.logits(self.dropout(self.output_norm(pooled)))
        return logits

    def pool(self, tokens: Tensor, absent: Tensor | None) -> Tensor:
        """Pools tokens (B, N, D) to (B, D).

        As there is only one query, the key layer is applied to the query and the value layer to the weighted mean of
        the tokens, instead of both to every token. This is equivalent and much faster. The bias of the keys adds the
        same value to all scores and cancels in the softmax.

        Args:
            tokens: (B, N, D).
            absent: bool (B, N), true for tokens to ignore.
        """
        width = tokens.shape[2]
        layers = self.key_value.weight.reshape(2, self.num_heads, width // self.num_heads, width)
        shares = self.shares(tokens, absent)
        gathered = torch.matmul(shares.transpose(1, 2), tokens)
        values = torch.matmul(layers[1], gathered.unsqueeze(3)).flatten(1)
        return self.output(values + self.key_value.bias[width:])

    def shares(self, tokens: Tensor, absent: Tensor | None) -> Tensor:
        """Returns the attention weights of the tokens, (B, N, heads); they sum to 1 over the tokens.

        Args:
            tokens: (B, N, D).
            absent: bool (B, N), true for tokens to ignore.
        """
        width = tokens.shape[2]
        depth = width // self.num_heads
        keys = self.key_value.weight[:width].reshape(self.num_heads, depth, width)
        asked = torch.matmul(self.query.reshape(self.num_heads, 1, depth), keys).squeeze(1) * depth**-0.5
        scores = torch.matmul(tokens, asked.transpose(0, 1))
        if absent is not None:
            scores = scores.masked_fill(absent.unsqueeze(2), -1e4)  # finite: a whole group may be absent
        return scores.softmax(dim=1)

    def permutable(self, declare: Declaration, features: list[Axis], pyramid: list[Axis]) -> Axis:
        """Declares the channels of the tokens, the heads and the channels of the pooled vector; classes are fixed.

        Returns:
            The channels of the tokens.
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
    """Assigns one class, or a set of labels, to each image.

    Args:
        name: task name, the key in a datalist item's `labels`.
        classes: K class names, in order for an ordinal task.
        kind: 'binary', 'multiclass', 'multilabel' or 'ordinal'.
        weight: fixed weight of the loss.
        dropout: dropout rate of the pooled features.
        applies_if: {"task", "class", "probability"}: the finding is 'not applicable' if another task's class has a
            lower probability; see `applicability.py`. Loss and metrics are not affected.
        has_reference: whether the first of several exclusive classes is the absence of the others, such as 'normal'. If
            not, as for two types of a disease, no class has an operating threshold: the most probable one is reported.

    Attributes:
        temperature: divisor of the logits that calibrates the probabilities; None for a task that is not calibrated.
        thresholds: {class: operating threshold}, see `operating.py`; empty by default. `calibrate` sets both.

    Raises:
        ValueError: if the kind is unknown, or the classes or the condition are invalid.
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
        has_reference: bool = True,
    ) -> None:
        super().__init__(name, weight)
        if kind not in SCHEMES:
            raise ValueError(f"task {name!r} expects kind to be one of {sorted(SCHEMES)}, got {kind!r}.")
        if len(set(classes)) != len(classes) or not classes:
            raise ValueError(f"task {name!r} expects classes with different names, got {classes}.")
        self.classes = list(classes)
        self.kind = kind
        self.scheme = SCHEMES[kind]
        try:
            self.num_logits = self.scheme.num_logits(len(classes))
        except ValueError as error:
            raise ValueError(f"task {name!r}: {error}") from error
        self.dropout = dropout
        self.applies_if = check_condition(name, applies_if)
        self.has_reference = has_reference
        self.temperature: float | None = None
        self.thresholds: dict[str, float] = {}

    def calibrate(self, temperature: float | None, thresholds: Mapping[str, float]) -> Task:
        """Returns a copy whose logits are divided by the temperature and whose findings use the thresholds.

        Losses are not affected. An ordinal task divides its cumulative logits. A task without a reference ignores the
        thresholds.

        Raises:
            ValueError: if the temperature is not positive, or a threshold is invalid.
        """
        if temperature is not None and not (math.isfinite(temperature) and temperature > 0.0):
            raise ValueError(f"task {self.name!r} expects a temperature above 0, got {temperature}.")
        task = copy.copy(self)
        task.temperature = temperature
        checked = check_thresholds(self.name, thresholds, decided_classes(self.kind, self.classes))
        task.thresholds = checked if self.has_reference else {}
        return task

    def decided_classes(self) -> list[str]:
        """Returns the classes that may have an operating threshold; none without a reference."""
        return decided_classes(self.kind, self.classes) if self.has_reference else []

    def make_decoder(self, channels: Sequence[int], strides: Sequence[int], width: int) -> nn.Module:
        """Builds an `AttentionPooling`."""
        level = self.pyramid_levels[0]
        return AttentionPooling(channels, self.num_logits, width, pyramid_level=level, dropout=self.dropout)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Returns the cross-entropy of the label scheme over annotated entries.

        Args:
            output: logits (B, L).
            target: (B,) class index, or (B, K) for a multi-label task; NaN where not annotated.

        Raises:
            ValueError: if a class index is out of range.
        """
        self._check(target)
        return self.scheme.loss(output, target.float())

    def activate(self, output: Tensor) -> Tensor:
        """Converts logits (..., L) to probabilities (..., K)."""
        return self.scheme.probs(self._scale(output.float()))

    def make_metric(self) -> TaskMetric:
        """Builds the metric: AUC, F1, accuracy and calibration error."""
        return ClassificationMetric(self.classes, self.kind)

    def encode_target(self, item: Mapping[str, Any], image_size: tuple[int, int]) -> Tensor:
        """Encodes the class name as index (), or the names as indicator (K,); NaN without a label."""
        label = (item.get(LABELS) or {}).get(self.name)
        if label is None:
            return self.scheme.missing(len(self.classes))
        try:
            return self.scheme.encode(label, self.classes)
        except ValueError as error:
            raise ValueError(f"task {self.name!r}: {error}") from error

    def describe(self, output: Tensor) -> dict[str, Any]:
        """Returns {'probs': {class: 0..1}, 'calibrated': bool} and the decision, see `operating.decide`."""
        probs = {name: round(value, 6) for name, value in zip(self.classes, output.tolist(), strict=True)}
        calibrated = {"calibrated": self.temperature is not None}
        return {"probs": probs, **decide(self.kind, probs, self.thresholds), **calibrated}

    def describe_target(self, target: Tensor) -> dict[str, Any]:
        """Returns {'class': name} or, for a multi-label task, {'classes': names of present classes}."""
        if bool(torch.isnan(target).all()):
            return {}
        if self.kind == "multilabel":
            known = zip(self.classes, target.tolist(), strict=True)
            return {"classes": [name for name, value in known if value > 0.5]}  # False for NaN
        return {"class": self.classes[int(target)]}

    def negative_log_likelihood(self, output: Tensor, target: Tensor) -> Tensor:
        """Returns the NLL of a categorical or, for a multi-label task, of one Bernoulli distribution per class."""
        if self.kind == "multilabel":
            return bernoulli_nll(self._scale(output.float()), target.float())
        return categorical_nll(self.activate(output), target.float())

    def combine_samples(self, samples: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Combines samples; measures: `entropy`, `mutual_information` (B,) or (B, K) if multi-label; `std` (B, K)."""
        joint, measures = self._combine(self._scale(samples))
        return joint * (self.temperature or 1.0), measures

    def _combine(self, samples: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Combines samples whose logits are already divided by the temperature."""
        if self.kind == "multilabel":
            return combine_sigmoids(samples)
        if self.kind == "ordinal":  # cumulative logits as used by the activation
            samples = samples.cummin(dim=-1).values
        joint = average_softmax(samples) if self.kind == "multiclass" else average_sigmoid(samples)
        probs, entropy = self.scheme.probs(samples), class_entropy(self.scheme.probs(joint))
        information = mutual_information(entropy, class_entropy(probs))
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
        """Returns the layer `logits` of the pooling."""
        return decoder.logits if isinstance(decoder, AttentionPooling) else None

    def restrict(self, known: Sequence[str]) -> Task:
        """Returns the task with a loss over known classes; unknown labels of a multi-label task are not annotated."""
        indices = [index for index, name in enumerate(self.classes) if name in known]
        if self.kind == "multilabel":
            return KnownClasses(self, indices, known_labels_loss, known_labels_annotated)
        return KnownClasses(self, indices, exclusive_loss, exclusive_annotated)

    def _scale(self, logits: Tensor) -> Tensor:
        return logits if self.temperature is None else logits / self.temperature

    def _check(self, target: Tensor) -> None:
        if target.device.type != "cpu":  # would wait for the device; `LoadTargetsd` has refused other classes
            return
        known = target[~torch.isnan(target)]
        highest = 1 if self.kind == "multilabel" else len(self.classes) - 1
        if known.numel() and (known.min() < 0 or known.max() > highest):
            worst = known.max().item() if known.max() > highest else known.min().item()
            raise ValueError(
                f"task {self.name!r} expects targets in 0..{highest}, got {worst:g}; "
                f"specify labels by name, out of {self.classes}, in the datalist."
            )
