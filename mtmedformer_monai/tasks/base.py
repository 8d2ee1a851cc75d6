"""What every task is: head, loss, activation, metric and postprocessing behind one name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class TaskMetric(Protocol):
    """Accumulates over batches and reports a dictionary of figures. Missing targets contribute nothing."""

    def reset(self) -> None:
        """Forgets everything seen."""

    def update(self, probs: Tensor, target: Tensor) -> None:
        """Adds one batch.

        Args:
            probs: the task's activated output, (B, ...).
            target: the task's target, (B, ...).
        """

    def compute(self) -> dict[str, float]:
        """Returns figure name to value; NaN where no target was annotated.

        `cases`, where it is among them, tells how many cases the primary figure rests on, and weighs it in the key
        metric.
        """


class Task(ABC):
    """One thing to predict from the shared features.

    A task's target is one dense tensor, NaN where not annotated; its output is one dense tensor. To add a kind of
    task, write one file with a final subclass, and name it in a config's `tasks`.

    Args:
        name: key of the task in the network's output, in the batch and in metric names.
        weight: fixed weight of its loss in the hybrid loss.

    Attributes:
        primary_figure: the figure of its metric that stands for the task in the key metric; higher is better.
        pyramid_levels: indices of the pyramid's maps that its decoder looks at, finest 0; others may be missing.
    """

    primary_figure: str = ""
    pyramid_levels: Sequence[int] = ()

    def __init__(self, name: str, weight: float = 1.0) -> None:
        if not name.isidentifier():
            raise ValueError(f"task name {name!r} is not an identifier; use letters, digits and underscores.")
        if weight < 0:
            raise ValueError(f"task {name!r} expects a weight of 0 or more, got {weight}.")
        self.name = name
        self.weight = float(weight)

    @abstractmethod
    def make_decoder(self, channels: Sequence[int], strides: Sequence[int], width: int) -> nn.Module:
        """Builds the task's decoder.

        Args:
            channels: of the encoder's feature maps, finest first.
            strides: of the same maps.
            width: D of the feature pyramid.

        Returns:
            A module called as `decoder(features, pyramid, image_size)`: both lists finest first, the pyramid's maps
            at `pyramid_levels` D wide, `image_size` (H, W) of the padded network input. Its method
            `permutable(declare, features, pyramid)` declares which of its units may be permuted (docs/permutations.md).
        """

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar loss, a mean over annotated images; exactly 0 with a zero gradient where none is annotated."""

    @abstractmethod
    def activate(self, output: Tensor) -> Tensor:
        """Output to probabilities, same leading axes."""

    @abstractmethod
    def make_metric(self) -> TaskMetric:
        """Builds a fresh accumulator of the task's figures."""

    @abstractmethod
    def encode_target(self, item: Mapping[str, Any], image_size: tuple[int, int]) -> Tensor:
        """Makes the target of one image from a datalist item.

        Args:
            item: datalist item whose `masks` are loaded: {structure: bool (H, W)}.
            image_size: (H, W) of the source image.

        Raises:
            ValueError: an annotation is out of range; names the task and the remedy.
        """

    @abstractmethod
    def describe(self, output: Tensor) -> dict[str, Any]:
        """Plain Python reading of one image's *activated* output, for reports and MONAI Label.

        Args:
            output: one image's activated output, without the batch axis, in the pixels of the image at hand.
        """

    def is_annotated(self, target: Tensor) -> Tensor:
        """Bool (B,): images that carry any annotation of this task."""
        return ~torch.isnan(target).reshape(target.shape[0], -1).all(dim=1)
