"""Posterior samples from local training, and the preconditioned update computed from them.

Iterate-averaged stochastic gradient (Al-Shedivat et al., FedPA, ICLR 2021, section 3.2 and algorithm 3; Mandt et al.,
JMLR 2017): averages of the iterates over segments of SGD serve as samples of the client's posterior.
"""

# L number of samples, D number of weights

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mtmedformer_monai.federated.message import Weights


class IterateSamples:
    """Averages of the iterates over segments of equal length, after a burn-in.

    Args:
        num_samples: number of segments per round; fewer if there are fewer steps.
        burn_in: share of the round's steps before the first segment.
    """

    def __init__(self, num_samples: int, burn_in: float) -> None:
        self._num_samples, self._burn_in = num_samples, burn_in
        self._sums: dict[int, Weights] = {}
        self._lengths: dict[int, int] = {}

    def clear(self) -> None:
        """Starts a round."""
        self._sums, self._lengths = {}, {}

    @torch.no_grad()
    def add(self, weights: Mapping[str, Tensor], step: int, num_steps: int) -> None:
        """Adds an iterate.

        Args:
            weights: {parameter: value} after the step; copied.
            step: number of the step, starting at 1.
            num_steps: number of steps in the round.
        """
        skipped = int(self._burn_in * num_steps)
        if not skipped < step <= num_steps:
            return
        segment = (step - skipped - 1) * min(self._num_samples, num_steps - skipped) // (num_steps - skipped)
        self._lengths[segment] = self._lengths.get(segment, 0) + 1
        sums = self._sums.setdefault(segment, {})
        for name, value in weights.items():
            if name in sums:
                sums[name] += value.detach().float().cpu()
            else:
                sums[name] = value.detach().to("cpu", torch.float32, copy=True)

    def samples(self) -> list[Weights]:
        """Returns the averages."""
        return [
            {name: value / self._lengths[segment] for name, value in sums.items()}
            for segment, sums in sorted(self._sums.items())
        ]


def posterior_delta(start: Mapping[str, Tensor], samples: Sequence[Mapping[str, Tensor]], shrinkage: float) -> Weights:
    """Returns `S^-1 (start - mean)` for the samples' mean and shrinkage covariance, in O(L^2 D), without a matrix.

    `S = r I + (1 - r) C`, with the sample covariance C and `r = 1 / (1 + (L - 1) shrinkage)` (FedPA, eq. 6). The
    dynamic program (theorem 3) adds one sample at a time: `S / r` grows by `shrinkage (l - 1) / l u u'`, where u is the
    sample's difference from the mean so far, and its inverse follows from the Sherman-Morrison formula.

    Args:
        start: {parameter: value from which the client started}; all parameters form one vector.
        samples: one or more samples of the client's posterior.
        shrinkage: 0 uses only the mean; a higher value gives the covariance more weight.

    Example:
        >>> one, three = {"w": torch.tensor([1.0])}, {"w": torch.tensor([3.0])}
        >>> posterior_delta({"w": torch.tensor([0.0])}, [one, three], 1.0)  # -2 / (1/2 + 1/2 * 2)
        {'w': tensor([-1.3333])}
    """
    mean = _vector(samples[0], start)
    delta = _vector(start, start) - mean
    past: list[tuple[Tensor, float]] = []  # v, and gamma / (1 + gamma u'v)
    for number, sample in enumerate(samples[1:], start=2):
        distance = _vector(sample, start) - mean
        gamma = shrinkage * (number - 1) / number
        solved = distance - sum((factor * (each @ distance) * each for each, factor in past), torch.zeros(()))
        grown = 1.0 + gamma * float(distance @ solved)
        delta = delta - (1.0 / number + gamma * float(distance @ delta)) / grown * solved
        past.append((solved, gamma / grown))
        mean = mean + distance / number
    return _tensors((1.0 + (len(samples) - 1) * shrinkage) * delta, start)


def _vector(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([tensors[name].double().flatten() for name in like])


def _tensors(vector: Tensor, like: Mapping[str, Tensor]) -> Weights:
    parts = torch.split(vector, [value.numel() for value in like.values()])
    return {
        name: part.reshape(value.shape).to(value.dtype) for (name, value), part in zip(like.items(), parts, strict=True)
    }
