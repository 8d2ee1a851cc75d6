"""Explains a class of a classification task by a map over the image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mtmedformer_monai.networks.mtmedformer import MTMedFormer
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.tasks.classification import AttentionPooling, ClassificationTask

from .class_activation import grad_cam, grad_cam_fine, hires_cam, hires_cam_pyramid
from .perturbation import integrated_gradients, occlusion
from .pooling_maps import attention_weights, token_contributions
from .score import Question

METHODS: dict[str, Callable[[Question, Tensor], Tensor]] = {
    "attention": attention_weights,
    "contributions": token_contributions,
    "grad_cam": grad_cam,
    "grad_cam_fine": grad_cam_fine,
    "hires_cam": hires_cam,
    "hires_cam_pyramid": hires_cam_pyramid,
    "integrated_gradients": integrated_gradients,
    "occlusion": occlusion,
}
"""{method: function of a question and an image (1, 1, H, W) that returns a map (H, W)}."""

DEFAULT_METHOD = "integrated_gradients"
"""The method that measured best over several weights; which is best depends on them, see docs/explanations.md."""


def explain(network: nn.Module, image: Tensor, task: Task, class_index: int, method: str = DEFAULT_METHOD) -> Tensor:
    """Returns a map of the evidence about one class of a classification.

    The map shows what the network's output depends on, which need not be the finding itself. The network is used in
    evaluation mode, without side effects on its parameters, gradients or mode.

    Args:
        network: the image network, or one that holds it as `image_network` (a study network).
        image: float (1, H, W) or (1, 1, H, W) in [0, 1], preprocessed as for inference.
        task: a classification task of the network.
        class_index: index of the class in `task.classes`.
        method: one of `METHODS`.

    Returns:
        float32 (H, W) in [0, 1] on the CPU, divided by its maximum; all 0 if the output depends on nothing in the
        image. `integrated_gradients` is a magnitude: it marks what speaks for the class and what speaks against it.

    Raises:
        ValueError: if an argument does not fit the network or the task.
    """
    if method not in METHODS:
        raise ValueError(f"method expects one of {sorted(METHODS)}, got {method!r}.")
    question = _question(network, task, class_index)
    batch = _batch_of_one(image)
    modes = {module: module.training for module in question.network.modules()}
    question.network.eval()
    try:
        found = METHODS[method](question, batch).detach().float().cpu().clamp(min=0)
    finally:
        for module, training in modes.items():
            module.training = training
    highest = float(found.max())
    return found / highest if highest > 0 else found


def _question(network: nn.Module, task: Task, class_index: int) -> Question:
    inner = getattr(network, "image_network", network)
    if not isinstance(inner, MTMedFormer):
        raise ValueError(f"network expects an MTMedFormer or a StudyNetwork, got {type(network).__name__}.")
    if not isinstance(task, ClassificationTask):
        raise ValueError(f"task expects a classification task, got {task.name!r} ({type(task).__name__}).")
    if task.name not in inner.decoders or not isinstance(inner.decoders[task.name], AttentionPooling):
        raise ValueError(f"task expects a classification out of {sorted(inner.decoders)}, got {task.name!r}.")
    if not 0 <= class_index < len(task.classes):
        raise ValueError(f"class_index expects 0..{len(task.classes) - 1} for task {task.name!r}, got {class_index}.")
    return Question(inner, task, class_index)


def _batch_of_one(image: Tensor) -> Tensor:
    plain = image.detach().as_subclass(torch.Tensor)
    plain = plain[None] if plain.ndim == 3 else plain
    if plain.ndim != 4 or plain.shape[:2] != (1, 1):
        raise ValueError(
            f"image expects one image with one channel, (1, H, W) or (1, 1, H, W), got shape {tuple(image.shape)}."
        )
    return plain.float()
