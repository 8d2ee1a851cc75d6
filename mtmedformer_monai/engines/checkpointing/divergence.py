"""The error of a training that has diverged, and the check of a network's weights for it."""

from __future__ import annotations

import torch
from torch import nn


def diverged(found: str) -> ValueError:
    """Returns the error of a diverged training, with its remedy.

    Args:
        found: what shows that the training has diverged, as the beginning of the message.

    Example:
        >>> str(diverged("the loss is NaN")).partition(";")[0]
        'the loss is NaN: the training has diverged'
    """
    return ValueError(
        f"{found}: the training has diverged; lower the learning rate or clip gradients, and resume from the last "
        "checkpoint."
    )


def check_finite(network: nn.Module) -> None:
    """Checks that all parameters and buffers of a network are finite.

    Raises:
        ValueError: one is not; the message names it.
    """
    values = network.state_dict()
    finite = {name: value.isfinite().all() for name, value in values.items() if value.is_floating_point()}
    if finite and not bool(torch.stack(list(finite.values())).all()):  # one transfer from the device
        name = next(name for name, each in finite.items() if not bool(each))
        raise diverged(f"{name!r} of the network is not finite")
