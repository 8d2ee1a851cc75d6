"""Predictive uncertainty of any model: from its posterior if it has one, otherwise from test-time augmentation."""

# B batch, C structures, H and W network pixels, A points, K classes

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, nn

from mtmedformer_monai.io.weights_files import POSTERIOR, companion
from mtmedformer_monai.tasks.base import Task

from .augmented import AugmentedInferer, default_views
from .posterior_file import WeightPosterior
from .posterior_inferer import PosteriorInferer


@dataclass(frozen=True)
class Prediction:
    """Predictions of all tasks for a batch of images, with their uncertainty.

    Attributes:
        probs: {task: activated output}: (B, C, H, W), rows (B, A, 7 + K), or (B, K).
        std: {task: standard deviation of its probabilities}: (B, C, H, W), (B, A, K) or (B, K).
        box_std: {detection: standard deviation of the box edges in pixels, (B, A, 4)}.
        measures: {task: {measure: tensor}}, all measures of `Task.combine_samples`.
        method: 'posterior' or 'augmentation'.
    """

    probs: dict[str, Tensor]
    std: dict[str, Tensor]
    box_std: dict[str, Tensor]
    measures: dict[str, dict[str, Tensor]]
    method: str


class UncertaintyInferer(Inferer):
    """A `PosteriorInferer` if the posterior exists, otherwise an `AugmentedInferer`.

    Args:
        tasks: the network's tasks, with the calibration of the model, if it has one.
        posterior: the posterior or its file; a file that does not exist, and '', select test-time augmentation.
        num_samples: number of weight samples.
        flip: whether test-time augmentation flips the image; see `default_views`.
        inferer: inferer that runs the network; MONAI's SimpleInferer by default.
        weights: file of the network's weights; unless a posterior is given, a file `posterior.pt` beside it is the
            posterior (`posterior_NAME.pt` of `model_NAME.pt`).

    Attributes:
        method: 'posterior' or 'augmentation'.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        posterior: WeightPosterior | str | Path = "",
        num_samples: int = 8,
        flip: bool = False,
        inferer: Inferer | None = None,
        weights: str | Path = "",
    ) -> None:
        super().__init__()
        if posterior == "" and weights != "":
            posterior = companion(weights, POSTERIOR)
        exists = isinstance(posterior, WeightPosterior) or Path(posterior).is_file()
        self.method = "posterior" if exists else "augmentation"
        self._inferer: Inferer = (
            PosteriorInferer(posterior, tasks, num_samples, inferer=inferer)
            if exists
            else AugmentedInferer(tasks, default_views(flip), inferer=inferer)
        )

    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Returns {task: raw output} and `{task}.{measure}`, as both inferers do."""
        outputs: dict[str, Tensor] = self._inferer(inputs, network, *args, **kwargs)
        return outputs


@torch.no_grad()
def predict_with_uncertainty(
    network: nn.Module,
    image: Tensor,
    tasks: Sequence[Task],
    posterior: WeightPosterior | str | Path = "",
    num_samples: int = 8,
    flip: bool = False,
) -> Prediction:
    """Predicts a batch of images with uncertainty.

    Args:
        network: network in evaluation mode.
        image: float32 (B, 1, H, W) in [0, 1], as preprocessed by the bundle.
        tasks: the network's tasks; with those of `calibrated_tasks`, the probabilities are calibrated.
        posterior: as of `UncertaintyInferer`.
        num_samples: number of weight samples.
        flip: whether test-time augmentation flips the image.

    Raises:
        ValueError: if the posterior belongs to another network or to other weights.
    """
    inferer = UncertaintyInferer(tasks, posterior, num_samples, flip)
    outputs = inferer(image, network)
    measures: dict[str, dict[str, Tensor]] = {task.name: {} for task in tasks}
    for name, value in outputs.items():
        task, dot, measure = name.partition(".")
        if dot and task in measures:
            measures[task][measure] = value
    return Prediction(
        {task.name: task.activate(outputs[task.name]) for task in tasks},
        {name: found["std"] for name, found in measures.items() if "std" in found},
        {name: found["box_std"] for name, found in measures.items() if "box_std" in found},
        measures,
        inferer.method,
    )
