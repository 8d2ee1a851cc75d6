"""Filters of a client's update: what a round has changed passes them before anything is computed from it.

A strategy's message is computed from the filtered weights, so the client's state and the server's agree, noise of a
round is corrected by the next one, and precisions, which depend on numbers of images alone, stay positive.

NVIDIA FLARE's filters are applied to the change of the weights, as in FLARE's documentation. The Gaussian mechanism is
the only one here with a differential privacy guarantee for the whole update (`privacy_loss.py`).
"""

from __future__ import annotations

import importlib
import math
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from mtmedformer_monai.federated.message import Weights

UpdateFilter = Callable[[Weights], Weights]
"""Maps {parameter: change in this round} to what may be sent; missing parameters are not sent."""

GAUSSIAN: Final = "gaussian"
"""Name of `GaussianMechanism`."""

FLARE_FILTERS: Final = {"svt": "SVTPrivacy", "percentile": "PercentilePrivacy", "exclude": "ExcludeVars"}
"""{name: class in nvflare.app_common.filters}."""


@dataclass(frozen=True)
class GaussianMechanism:
    """Limits the norm of an update, and adds Gaussian noise (Dwork and Roth 2014, appendix A; McMahan et al. 2018).

    Every number of the noise is drawn from the operating system, never with the seed of the training, which the server
    knows, nor with any other: torch's generator has 2^32 seeds, few enough to try them all and to subtract the noise.
    Sampling is in floating point, which a strict proof does not cover (Mironov, CCS 2012).

    Attributes:
        clip: largest Euclidean norm of the whole update, over all parameters.
        noise: standard deviation of the noise of each weight, divided by `clip`.
    """

    clip: float
    noise: float

    def __post_init__(self) -> None:
        """Validates the settings.

        Raises:
            ValueError: a clip that is not positive, or a negative noise.
        """
        if not (0 < self.clip < math.inf and 0 <= self.noise < math.inf):
            raise ValueError(f"gaussian expects clip above 0 and noise of 0 or more, got {self.clip}, {self.noise}.")

    def __call__(self, update: Weights) -> Weights:
        """Returns the clipped update with noise."""
        norm = math.sqrt(sum(float(value.double().square().sum()) for value in update.values()))
        scale, deviation = min(1.0, self.clip / max(norm, 1e-30)), self.noise * self.clip
        return {
            name: (scale * value + deviation * normal_noise(value.shape)).to(value.dtype)
            for name, value in update.items()
        }


def normal_noise(shape: torch.Size) -> torch.Tensor:
    """Returns standard normal numbers, float64, each from 52 bits of the operating system (inverse transform)."""
    bits = np.frombuffer(secrets.token_bytes(8 * shape.numel()), np.uint64) >> np.uint64(12)
    return torch.special.ndtri(torch.from_numpy((bits + 0.5) * 2.0**-52)).reshape(shape)


@dataclass(frozen=True)
class FlareFilter:
    """Applies a filter of NVIDIA FLARE to an update.

    Its text has the filter's settings and no memory address: by it, a site knows after a restart that its last message
    has passed the same filters (`site_session.py`).

    Attributes:
        wrapped: a `DXOFilter` of FLARE.
        context: FLARE's context of the task, in whose audit log the filter is listed; None outside of FLARE.
    """

    wrapped: Any
    context: Any = None

    def __repr__(self) -> str:
        plain = (bool, int, float, str, list, tuple, dict, type(None))
        public = ((name, value) for name, value in vars(self.wrapped).items() if not name.startswith("_"))
        settings = [f"{name}={value!r}" for name, value in public if isinstance(value, plain)]
        return f"FlareFilter({type(self.wrapped).__qualname__}({', '.join(settings)}))"

    def __call__(self, update: Weights) -> Weights:
        """Returns the filtered update; scalars and shapes are kept."""
        from nvflare.apis.dxo import DXO, DataKind, from_shareable
        from nvflare.apis.fl_context import FLContext

        arrays = {name: value.detach().numpy().copy() for name, value in update.items()}
        sent = DXO(DataKind.WEIGHT_DIFF, data=arrays).to_shareable()
        with _fresh_numpy_noise():
            found = from_shareable(self.wrapped.process(sent, self.context or FLContext()))
        if type(self.wrapped).__name__ not in (found.get_filter_history() or []):
            raise ValueError(f"{type(self.wrapped).__name__} of FLARE is not applied; check its settings.")
        return {name: torch.as_tensor(np.asarray(value, np.float32)) for name, value in found.data.items()}


def make_filters(listed: Sequence[Mapping[str, Any] | UpdateFilter]) -> list[UpdateFilter]:
    """Returns filters in the order of application.

    Args:
        listed: settings of each filter by name, with its `name`: 'gaussian', or one of `FLARE_FILTERS`; or filters.

    Raises:
        ValueError: an unknown filter or setting, or a filter of FLARE without FLARE.

    Example:
        >>> make_filters([{"name": "gaussian", "clip": 1.0, "noise": 0.5}])
        [GaussianMechanism(clip=1.0, noise=0.5)]
    """
    return [each if callable(each) else _make(dict(each)) for each in listed]


def _make(settings: dict[str, Any]) -> UpdateFilter:
    name = settings.pop("name", None)
    if name != GAUSSIAN and name not in FLARE_FILTERS:
        raise ValueError(f"a filter expects the name {GAUSSIAN}, {', '.join(FLARE_FILTERS)}, got {name!r}.")
    try:
        if name == GAUSSIAN:
            return GaussianMechanism(**settings)
        module = importlib.import_module("nvflare.app_common.filters")
        return FlareFilter(getattr(module, FLARE_FILTERS[name])(**settings))
    except TypeError as error:
        raise ValueError(f"the filter {name!r} has no such settings: {error}") from error
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the filter {name!r} is NVIDIA FLARE's; install it with: pip install 'mtmedformer-monai[flare]'"
        ) from error


@contextmanager
def _fresh_numpy_noise() -> Iterator[None]:
    """Seeds NumPy, which FLARE's filters draw from, by the operating system; restores the training's state."""
    state = np.random.get_state()
    np.random.seed([secrets.randbits(32) for _ in range(8)])
    try:
        yield
    finally:
        np.random.set_state(state)
