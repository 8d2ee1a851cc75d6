"""Random seeds that depend only on the seed and the epoch, so that a resumed run equals an uninterrupted one."""

from __future__ import annotations

import random
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd


class SeedEachEpoch:
    """Seeds all sources of randomness at the start of each training epoch.

    These are the generators of Python, NumPy and torch (all devices), the generators of the data loader and its
    sampler, and the random transforms of its dataset. Data loader workers are restarted each epoch and derive their
    seeds from torch's generator, so results are reproducible with any number of workers, if it is the same. Checkpoints
    need no generator state, because random numbers drawn elsewhere, such as in validation, have no effect on the next
    epoch.

    Processes of a distributed run get different seeds. A DistributedSampler shuffles by its own seed and epoch.

    Args:
        seed: 0 or more.

    Raises:
        ValueError: on attaching, if the data loader has `persistent_workers=True`, because persistent workers cannot be
            seeded from outside, or if an epoch is not one pass over the data loader, because the place in it at which
            an epoch starts cannot be resumed.
    """

    def __init__(self, seed: int = 0) -> None:
        if seed < 0:
            raise ValueError(f"seed expects 0 or more, got {seed}.")
        self._seed = seed

    def attach(self, engine: Engine) -> None:
        """Registers the handler on a trainer."""
        problem = why_not_seeded(engine)
        if problem:
            raise ValueError(f"{problem}, or omit SeedEachEpoch if exact resumption is not needed.")
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seeds the epoch that starts."""
        seed_epoch(engine.data_loader, self._seed, engine.state.epoch, idist.get_rank())


def why_not_seeded(engine: Engine) -> str:
    """Returns why the epochs of a trainer cannot be seeded one by one, with the remedy; '' if they can."""
    if getattr(engine.data_loader, "persistent_workers", False):
        return "the data loader has persistent_workers=True, whose random state can't be resumed; set it to False"
    batches, length = _num_batches(engine.data_loader), engine.state.epoch_length
    if batches is not None and length is not None and length != batches:
        return (
            f"epoch_length is {length}, but the data loader has {batches} batches, so epochs start in the middle of a "
            "pass, which can't be resumed; omit epoch_length"
        )
    return ""


def _num_batches(loader: Any) -> int | None:
    """Returns the number of batches; None if it is unknown, as for an iterable dataset."""
    try:
        return len(loader)
    except TypeError:
        return None


def seed_epoch(loader: Any, seed: int, epoch: int, rank: int = 0) -> None:
    """Seeds all sources of randomness for one epoch over a data loader.

    Args:
        loader: data loader whose generators and random transforms are seeded, too.
        seed: seed of the training.
        epoch: number of the epoch.
        rank: rank of the process, or another index whose values need different random numbers.
    """
    mixed = epoch_seed(seed, epoch, rank)
    random.seed(mixed)
    np.random.seed(mixed)
    torch.manual_seed(mixed)
    _seed_loader(loader, mixed)


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """Hashes seed, epoch and rank to 32 bits, so that the streams of neighboring seeds are independent."""
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0])


def _seed_loader(loader: Any, seed: int) -> None:
    for holder in (loader, getattr(loader, "sampler", None)):
        generator = getattr(holder, "generator", None)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(seed)
    if getattr(loader, "dataset", None) is not None:
        set_rnd(loader.dataset, seed)
