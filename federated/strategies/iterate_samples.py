"""Posterior samples out of a local training, and what they make of a step.

Iterate-averaged stochastic gradient (Al-Shedivat et al., FedPA, ICLR 2021, section 3.2 and algorithm 3; Mandt et al.,
JMLR 2017): averages of the iterates over stretches of SGD are taken for samples of the site's posterior.
"""

# L samples, D weights

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mtmedformer_monai.federated.strategy import Weights


class IterateSamples:
    """Averages of the iterates over stretches of equal length, after a burn-in.

    Args:
        num_samples: stretches of a round; fewer where there are fewer steps.
        burn_in: share of the round's steps before the first stretch.
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
            step: from 1 on.
            num_steps: of the round.
        """
        skipped = int(self._burn_in * num_steps)
        if not skipped < step <= num_steps:
            return
        stretch = (step - skipped - 1) * min(self._num_samples, num_steps - skipped) // (num_steps - skipped)
        self._lengths[stretch] = self._lengths.get(stretch, 0) + 1
        sums = self._sums.setdefault(stretch, {})
        for name, value in weights.items():
            if name in sums:
                sums[name] += value.detach().float().cpu()
            else:
                sums[name] = value.detach().to("cpu", torch.float32, copy=True)

    def samples(self) -> list[Weights]:
        """The averages."""
        return [
            {name: value / self._lengths[stretch] for name, value in sums.items()}
            for stretch, sums in sorted(self._sums.items())
        ]


def posterior_delta(start: Mapping[str, Tensor], samples: Sequence[Mapping[str, Tensor]], shrinkage: float) -> Weights:
    """`S^-1 (start - mean)` of the samples' mean and shrinkage covariance, in O(L^2 D), without a matrix.

    `S = r I + (1 - r) C`, with the sample covariance C and `r = 1 / (1 + (L - 1) shrinkage)` (FedPA, eq. 6). The
    dynamic programme (theorem 3) adds sample by sample: `S / r` grows by `shrinkage (l - 1) / l u u'`, u the sample's
    distance from the mean so far, and its inverse follows by Sherman and Morrison.

    Args:
        start: {parameter: value that the site started from}; all parameters are one vector.
        samples: of the site's posterior, one or more.
        shrinkage: 0 takes the mean alone; higher trusts the covariance more.

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
