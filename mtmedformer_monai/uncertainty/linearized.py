"""Predictive class probabilities from the posterior of the last layer, in one forward pass without sampling.

A layer is linear in its weights, so a Gaussian over the weights implies a Gaussian over the logits without
approximation. For features h, logit k has the variance `T (sum_d h_d^2 / precision_kd + 1 / precision_k)` (MacKay, "The
evidence framework applied to classification networks", Neural Computation 1992; Immer et al., AISTATS 2021: the
Jacobian of the logits in the last layer's weights is h). Under a diagonal posterior the logits of an image are
independent.
"""

# B batch, D width, L logits, K classes, S samples

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor, nn

from mtmedformer_monai.tasks.base import Task

from .posterior_file import WeightPosterior, check_fit


def logit_variance(
    features: Tensor, weight_precision: Tensor, bias_precision: Tensor | None = None, temperature: float = 1.0
) -> Tensor:
    """Returns the variance of the logits of a linear layer.

    Args:
        features: (B, D), input of the layer.
        weight_precision: (L, D).
        bias_precision: (L,); None if the bias has no variance.
        temperature: temperature of the posterior.

    Returns:
        (B, L).

    Example:
        >>> logit_variance(torch.tensor([[3.0, 1.0]]), torch.tensor([[9.0, 2.0]]), torch.tensor([2.0]))
        tensor([[2.]])
    """
    variance = features.square() @ weight_precision.reciprocal().T
    if bias_precision is not None:
        variance = variance + bias_precision.reciprocal()
    return temperature * variance


def probit_logits(logits: Tensor, variance: Tensor) -> Tensor:
    """Returns logits whose activation approximates the mean over a Gaussian, `logit / sqrt(1 + pi / 8 variance)`.

    This is MacKay's approximation (1992) for a sigmoid. It is applied to each logit of a softmax (Lu et al.,
    arXiv 2006.07584, mean field of order 0), where it is less accurate.
    """
    return logits / (1.0 + math.pi / 8.0 * variance).sqrt()


class LastLayerInferer(Inferer):
    """Averages classifications over the posterior of their last layer in one forward pass.

    It returns the network's outputs and, in addition, `{task}.logit_std` (B, L). The outputs of other tasks are not
    changed. With a calibrated task, which divides its logits by a temperature, the probabilities of the divided logits
    are averaged, as by the `PosteriorInferer`; `logit_std` is that of the undivided ones.

    Args:
        posterior: posterior centered at the network's weights.
        tasks: the network's tasks; those with a `last_layer` are averaged.
        inferer: inferer that runs the network; MONAI's SimpleInferer by default.
    """

    def __init__(self, posterior: WeightPosterior, tasks: Sequence[Task], inferer: Inferer | None = None) -> None:
        super().__init__()
        self._posterior = posterior
        self._precision = posterior.precision()
        self._tasks = list(tasks)
        self._inferer = inferer or SimpleInferer()
        self._checked: nn.Module | None = None

    @torch.no_grad()
    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Runs the network once.

        Raises:
            ValueError: if the posterior belongs to another network or to other weights.
        """
        if self._checked is not network:
            check_fit(self._posterior, network)
            self._checked = network
        features: dict[str, Tensor] = {}
        hooks = [hook for task in self._tasks for hook in _listen(network, task, features)]
        try:
            outputs: dict[str, Tensor] = dict(self._inferer(inputs, network, *args, **kwargs))
        finally:
            for hook in hooks:
                hook.remove()
        divisors = {task.name: getattr(task, "temperature", None) or 1.0 for task in self._tasks}
        for name, entering in features.items():
            variance = self._variance(name, entering)
            outputs[name] = probit_logits(outputs[name].float(), variance / divisors[name] ** 2)
            outputs[f"{name}.logit_std"] = variance.sqrt()
        return outputs

    def _variance(self, name: str, features: Tensor) -> Tensor:
        precision = _on(self._precision, f"decoders.{name}.logits.weight", features)
        if precision is None:
            return torch.zeros_like(features[:, :1])
        bias = _on(self._precision, f"decoders.{name}.logits.bias", features)
        return logit_variance(features, precision, bias, self._posterior.temperature)


def _listen(network: nn.Module, task: Task, features: dict[str, Tensor]) -> list[Any]:
    """Registers a hook that stores the input of a task's last layer, if it has one; returns the hooks."""
    layer = task.last_layer(network.get_submodule(f"decoders.{task.name}"))
    if layer is None:
        return []

    def keep(module: nn.Module, entering: tuple[Tensor, ...]) -> None:
        features[task.name] = entering[0].float()

    return [layer.register_forward_pre_hook(keep)]


def _on(precision: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor | None:
    return precision[name].to(like) if name in precision else None
