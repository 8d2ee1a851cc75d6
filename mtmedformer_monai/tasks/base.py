"""What every task is: head, loss, activation, metric and postprocessing behind one name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .sample_average import mean_of_samples, std_of_samples


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
    task, write one file with a final subclass, and name it in a config's `tasks`. Abstract methods must be written;
    the others have defaults that suit a task without classes, masks and boxes.

    Args:
        name: key of the task in the network's output, in the batch and in metric names.
        weight: fixed weight of its loss in the hybrid loss.

    Attributes:
        primary_metric: the figure of its metric that stands for the task in the key metric; higher is better.
        pyramid_levels: indices of the pyramid's maps that its decoder looks at, finest 0; others may be missing.
        classes: names of its classes, in the order of its scores; none by default.
        structures: names of the masks that it predicts, in the order of `masks`; none by default.
        has_boxes: whether it finds boxes.
        describes_image: whether its finding is about the image as a whole, such as a class.
        self_supervised: whether its targets come from the image itself, so that every image has one.
    """

    primary_metric: str = ""
    pyramid_levels: Sequence[int] = ()
    classes: Sequence[str] = ()
    structures: Sequence[str] = ()
    has_boxes: bool = False
    describes_image: bool = False
    self_supervised: bool = False

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

    def describe_target(self, target: Tensor) -> dict[str, Any]:
        """Plain Python reading of one image's target, with the keys of `describe`; {} where nothing is annotated.

        Args:
            target: one image's target, without the batch axis.
        """
        return {}

    def masks(self, output: Tensor) -> Tensor:
        """Bool (C, H, W): the masks of `structures`.

        Args:
            output: one image's activated output, without the batch axis.
        """
        return torch.zeros(0, *output.shape[-2:], dtype=torch.bool)

    def complete_image(self, image: Tensor, output: Tensor, target: Tensor) -> Tensor:
        """The image (H, W) with what the task reconstructs of it; the image as it is by default.

        Args:
            image: (H, W).
            output: one image's activated output.
            target: one image's target.
        """
        return image

    def negative_log_likelihood(self, output: Tensor, target: Tensor) -> Tensor:
        """Negative log-likelihood, float64 scalar: a sum over annotated images; 0 for a loss that is no likelihood.

        Args:
            output: (B, ...), not activated.
            target: (B, ...).
        """
        return torch.zeros((), dtype=torch.float64)

    def combine_samples(self, samples: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Joins outputs under several weight samples; see `sample_average.py`.

        Args:
            samples: float32 (S, B, ...) outputs, not activated; S of 2 or more.

        Returns:
            The output (B, ...) that stands for all samples, and {figure: uncertainty (B, ...)}. By default the mean
            output and the standard deviation of the activated one.
        """
        return mean_of_samples(samples), {"std": std_of_samples(self.activate(samples))}

    def describe_uncertainty(
        self, finding: dict[str, Any], output: Tensor, measures: Mapping[str, Tensor], to_source: Tensor
    ) -> dict[str, Any]:
        """A finding of `describe` with what is uncertain in it; as it is by default.

        Args:
            finding: to extend.
            output: that `describe` has read.
            figures: of `combine_samples`, of one image.
            to_source: float64 (2, 2), linear map from the network's (x, y) to the source's.
        """
        return finding

    def last_layer(self, decoder: nn.Module) -> nn.Linear | None:
        """The linear layer whose outputs are the task's logits (B, L), if its decoder ends in one.

        Args:
            decoder: of `make_decoder`.
        """
        return None

    def restrict(self, known: Sequence[str]) -> Task:
        """The task at a client that knows only some of its classes: only the loss differs.

        Args:
            known: names of `classes`.

        Raises:
            ValueError: the kind of task has no classes to restrict.
        """
        raise ValueError(f"task {self.name!r} can't be restricted to known classes; leave its annotations out.")
