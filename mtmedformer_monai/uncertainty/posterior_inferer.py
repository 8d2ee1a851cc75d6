"""MONAI inferer that averages predictions over weights sampled from the posterior."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor, nn
from torch.func import functional_call

from mtmedformer_monai.tasks.base import Task

from .posterior_file import WeightPosterior, check_fit, load_posterior
from .sampling import draw_weights, trained_share_by_task

_logger = logging.getLogger(__name__)


class PosteriorInferer(Inferer):
    """Averages the network's outputs over weights sampled from the posterior and quantifies their uncertainty.

    It returns {task: raw output}, as the network does, so losses, metrics and postprocessing need no change. In
    addition, it returns tensors named `{task}.{measure}`, which these ignore because task names contain no dot.
    `Task.combine_samples` of each kind of task documents the measures, and `KeepUncertaintyd` preserves them during
    postprocessing.

    The samples depend only on the seed, so all images are evaluated with the same samples and results are reproducible.
    The network is not changed. The computation takes `num_samples` forward passes, and memory for a copy of the weights
    and the outputs of all samples.

    Args:
        posterior: posterior centered at the network's weights, or its file.
        tasks: the network's tasks.
        num_samples: number of weight samples, 2 or more.
        temperature: temperature that replaces the posterior's own.
        seed: seed of the samples.
        inferer: inferer that runs the network; MONAI's SimpleInferer by default.
    """

    def __init__(
        self,
        posterior: WeightPosterior | str | Path,
        tasks: Sequence[Task],
        num_samples: int = 8,
        temperature: float | None = None,
        seed: int = 0,
        inferer: Inferer | None = None,
    ) -> None:
        super().__init__()
        if num_samples < 2:
            raise ValueError(f"num_samples expects 2 or more, got {num_samples}; one sample has no variance.")
        self._posterior = posterior if isinstance(posterior, WeightPosterior) else load_posterior(posterior)
        self._precision = self._posterior.precision()
        self._tasks = list(tasks)
        self._num_samples = num_samples
        self._temperature = self._posterior.temperature if temperature is None else temperature
        self._seed = seed
        self._inferer = inferer or SimpleInferer()
        self._checked: nn.Module | None = None

    def at(self, temperature: float) -> PosteriorInferer:
        """Returns this inferer at another temperature; both share one posterior in memory."""
        other = copy.copy(self)
        other._temperature = temperature
        return other

    def trained_share(self) -> dict[str, float]:
        """Returns {task: fraction of its parameters that data have trained}; 0 for a task without training data."""
        prior = {name: value.to(self._precision[name].dtype) for name, value in self._posterior.prior.items()}
        return trained_share_by_task(self._precision, prior)

    @torch.no_grad()
    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Runs the network with all weight samples.

        Args:
            inputs: inputs of the network.
            network: network in evaluation mode, whose weights are the mean of the posterior.
            args: passed on to the inferer.
            kwargs: passed on to the inferer.

        Raises:
            ValueError: if the posterior belongs to another network or to other weights.
        """
        self._check(network)
        mean = dict(network.named_parameters())
        generator = torch.Generator().manual_seed(self._seed)
        samples: dict[str, list[Tensor]] = {task.name: [] for task in self._tasks}
        for _ in range(self._num_samples):
            weights = draw_weights(mean, self._precision, self._temperature, generator)
            outputs = self._inferer(inputs, _with_weights(network, weights), *args, **kwargs)
            for name, gathered in samples.items():
                gathered.append(outputs[name])
        return self._summarize({name: torch.stack(gathered) for name, gathered in samples.items()})

    def _summarize(self, samples: dict[str, Tensor]) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = {}
        for task in self._tasks:
            outputs[task.name], measures = task.combine_samples(samples[task.name].float())
            outputs |= {f"{task.name}.{measure}": value for measure, value in measures.items()}
        return outputs

    def _check(self, network: nn.Module) -> None:
        """Checks the posterior once per network, because computing the fingerprint reads all weights."""
        if self._checked is network:
            return
        check_fit(self._posterior, network)
        unknown = [task.name for task in self._tasks if self.trained_share().get(task.name) == 0.0]
        if unknown:
            _logger.warning("No data have trained the tasks %s: their posterior equals the prior.", ", ".join(unknown))
        self._checked = network


def _with_weights(network: nn.Module, weights: dict[str, Tensor]) -> Callable[..., Any]:
    """Returns the network as a function with the given weights."""

    def run(*args: Any, **kwargs: Any) -> Any:
        return functional_call(network, weights, args, kwargs)

    return run
