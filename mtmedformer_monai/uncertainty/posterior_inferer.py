"""Inference under weights drawn from the posterior, behind MONAI's interface of an inferer."""

from __future__ import annotations

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
    """The network's outputs, averaged over weights drawn from the posterior, with what the draws disagree about.

    Returns what the network returns, {task: raw output}, so that losses, metrics and postprocessing work as they are,
    and beside it `{task}.{figure}` tensors, which none of them looks at (a task's name holds no dot);
    `Task.combine_samples` of each kind lists them, `KeepUncertaintyd` carries them past the activation.

    The draws depend on the seed alone: all images see the same draws, whatever the batch, and two runs agree. The
    network is not changed. Time: `num_samples` times the network's; memory: a copy of its weights, and the outputs of
    all draws.

    Args:
        posterior: around the network's weights, or a file of one.
        tasks: the network's tasks.
        num_samples: draws, 2 or more.
        temperature: instead of the posterior's own.
        seed: of the draws.
        inferer: what runs the network; default MONAI's SimpleInferer.
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
            raise ValueError(f"num_samples expects 2 or more, got {num_samples}; one draw knows no spread.")
        self._posterior = posterior if isinstance(posterior, WeightPosterior) else load_posterior(posterior)
        self._precision = self._posterior.precision()
        self._tasks = list(tasks)
        self._num_samples = num_samples
        self._temperature = self._posterior.temperature if temperature is None else temperature
        self._seed = seed
        self._inferer = inferer or SimpleInferer()
        self._checked: nn.Module | None = None

    def trained_share(self) -> dict[str, float]:
        """{task: share of its parameters that any data have trained}; 0 is a task without any training data."""
        prior = {name: value.to(self._precision[name].dtype) for name, value in self._posterior.prior.items()}
        return trained_share_by_task(self._precision, prior)

    @torch.no_grad()
    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Runs all draws.

        Args:
            inputs: the network's.
            network: in evaluation mode, with the weights that the posterior lies around.
            args: passed on.
            kwargs: passed on.

        Raises:
            ValueError: the posterior is of another network, or of other weights.
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
        """Once a network: the fingerprint reads all weights."""
        if self._checked is network:
            return
        check_fit(self._posterior, network)
        unknown = [task.name for task in self._tasks if self.trained_share().get(task.name) == 0.0]
        if unknown:
            _logger.warning("No data trained the tasks %s: the posterior equals the prior there.", ", ".join(unknown))
        self._checked = network


def _with_weights(network: nn.Module, weights: dict[str, Tensor]) -> Callable[..., Any]:
    """The network as a function, with other weights."""

    def run(*args: Any, **kwargs: Any) -> Any:
        return functional_call(network, weights, args, kwargs)

    return run
