"""Base class of tasks, each of which combines decoder, loss, activation, metric and postprocessing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .sample_average import mean_of_samples, std_of_samples


class TaskMetric(Protocol):
    """Accumulates batches and returns a dictionary of metrics. Missing targets are ignored."""

    def reset(self) -> None:
        """Resets the accumulated state."""

    def update(self, probs: Tensor, target: Tensor) -> None:
        """Adds one batch.

        Args:
            probs: the task's activated output, (B, ...).
            target: the task's target, (B, ...).
        """

    def compute(self) -> dict[str, float]:
        """Returns {metric: value}; NaN if no target is annotated.

        `cases`, if included, is the number of cases from which the primary metric is computed and determines its weight
        in the key metric.
        """


class Task(ABC):
    """Base class of a task that is predicted from the shared features.

    Both target and output of a task are one dense tensor each; targets are NaN where not annotated. To add a kind of
    task, write one file with a final subclass and add it to a config's `tasks`. Subclasses must implement the abstract
    methods; the defaults of the others suit a task without classes, masks and boxes.

    Args:
        name: key of the task in the network's output, in the batch and in metric names.
        weight: fixed weight of its loss in the hybrid loss.

    Attributes:
        primary_metric: metric that represents the task in the key metric; higher is better.
        pyramid_levels: indices of the pyramid levels that the decoder uses, 0 is finest; other levels may be missing.
        classes: class names, in the order of the scores; empty by default.
        structures: names of the predicted masks, in the order of `masks`; empty by default.
        has_boxes: whether the task predicts boxes.
        describes_image: whether the finding describes the image as a whole, such as a class.
        self_supervised: whether targets are derived from the image itself, so that every image has one.
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
            channels: channels of the encoder's feature maps, finest first.
            strides: strides of the same maps.
            width: width D of the feature pyramid.

        Returns:
            A module called as `decoder(features, pyramid, image_size)`, where both lists of maps are ordered from fine
            to coarse, the pyramid's maps at `pyramid_levels` have width D, and `image_size` is (H, W) of the padded
            network input. Its method `permutable(declare, features, pyramid)` declares which of its units can be
            permuted (docs/permutations.md).
        """

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Returns the scalar loss, a mean over annotated images; exactly 0 with zero gradient if none is annotated."""

    @abstractmethod
    def activate(self, output: Tensor) -> Tensor:
        """Converts an output to probabilities; leading axes are preserved."""

    @abstractmethod
    def make_metric(self) -> TaskMetric:
        """Builds a new accumulator of the task's metrics."""

    @abstractmethod
    def encode_target(self, item: Mapping[str, Any], image_size: tuple[int, int]) -> Tensor:
        """Encodes the annotations of a datalist item as the target of one image.

        Args:
            item: datalist item with loaded `masks`, {structure: bool (H, W)}.
            image_size: (H, W) of the source image.

        Raises:
            ValueError: if an annotation is invalid.
        """

    @abstractmethod
    def describe(self, output: Tensor) -> dict[str, Any]:
        """Returns the findings in one image as plain Python values, for reports and MONAI Label.

        Args:
            output: activated output of one image, without the batch axis, in pixels of the current image.
        """

    def is_annotated(self, target: Tensor) -> Tensor:
        """Returns which images have any annotation of this task, bool (B,)."""
        return ~torch.isnan(target).reshape(target.shape[0], -1).all(dim=1)

    def describe_target(self, target: Tensor) -> dict[str, Any]:
        """Returns the annotation of one image as plain Python values with the keys of `describe`; {} if not annotated.

        Args:
            target: target of one image, without the batch axis.
        """
        return {}

    def masks(self, output: Tensor) -> Tensor:
        """Returns the masks of `structures`, bool (C, H, W).

        Args:
            output: activated output of one image, without the batch axis.
        """
        return torch.zeros(0, *output.shape[-2:], dtype=torch.bool)

    def complete_image(self, image: Tensor, output: Tensor, target: Tensor) -> Tensor:
        """Returns the image (H, W) with the pixels that the task reconstructs; by default, the unchanged image.

        Args:
            image: (H, W).
            output: activated output of one image.
            target: target of one image.
        """
        return image

    def negative_log_likelihood(self, output: Tensor, target: Tensor) -> Tensor:
        """Returns the negative log-likelihood, summed over annotated images, as float64 scalar.

        By default, it is 0, for tasks whose loss does not correspond to a likelihood.

        Args:
            output: raw output (B, ...).
            target: (B, ...).
        """
        return torch.zeros((), dtype=torch.float64)

    def combine_samples(self, samples: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Combines the outputs under several weight samples; see `sample_average.py`.

        Args:
            samples: raw outputs, float32 (S, B, ...); S is 2 or more.

        Returns:
            The combined raw output (B, ...), and {uncertainty measure: (B, ...)}. By default, these are the mean output
            and the standard deviation of the activated outputs.
        """
        return mean_of_samples(samples), {"std": std_of_samples(self.activate(samples))}

    def describe_uncertainty(
        self, finding: dict[str, Any], output: Tensor, measures: Mapping[str, Tensor], to_source: Tensor
    ) -> dict[str, Any]:
        """Returns a finding of `describe` extended by its uncertainty; by default, the unchanged finding.

        Args:
            finding: finding to extend.
            output: output from which `describe` derived the finding.
            measures: uncertainty measures of one image, from `combine_samples`.
            to_source: float64 (2, 2), linear map from (x, y) in network pixels to source pixels.
        """
        return finding

    def calibrate(self, temperature: float | None, thresholds: Mapping[str, float]) -> Task:
        """Returns the task with calibrated probabilities and operating thresholds; by default, the unchanged task.

        Args:
            temperature: divisor of the logits; None for none.
            thresholds: {class: minimum score} of reported classes or boxes; classes without one keep the default.
        """
        return self

    def last_layer(self, decoder: nn.Module) -> nn.Linear | None:
        """Returns the final linear layer of the decoder, whose outputs are the logits (B, L), or None.

        Args:
            decoder: decoder built by `make_decoder`.
        """
        return None

    def restrict(self, known: Sequence[str]) -> Task:
        """Returns the task for a client that annotates only some of its classes; only the loss differs.

        Args:
            known: names of the annotated classes, out of `classes`.

        Raises:
            ValueError: if the kind of task has no classes.
        """
        raise ValueError(f"task {self.name!r} can't be restricted to known classes; omit its annotations.")
