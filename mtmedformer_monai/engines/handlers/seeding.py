"""Randomness that depends on the seed and the epoch alone, so that a resumed run repeats the uninterrupted one."""

from __future__ import annotations

import random
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd


class SeedEachEpoch:
    """Seeds every source of randomness at the start of each epoch of a trainer.

    Python's, NumPy's and torch's generators (all devices), the data loader's and its sampler's own generators, and the
    random transforms in its dataset. Loader workers are started anew each epoch and take their seeds from torch's, so
    any number of workers is repeatable. No generator's state has to be kept in a checkpoint: whatever validation or
    other code drew meanwhile is without effect.

    Processes of a distributed run get different seeds; a DistributedSampler shuffles by its own seed and epoch.

    Args:
        seed: 0 or more.

    Raises:
        ValueError: on attaching, where the loader keeps its workers over epochs (`persistent_workers=True`): these
            can't be seeded from outside.
    """

    def __init__(self, seed: int = 0) -> None:
        if seed < 0:
            raise ValueError(f"seed expects 0 or more, got {seed}.")
        self._seed = seed

    def attach(self, engine: Engine) -> None:
        """Registers on a trainer."""
        if getattr(engine.data_loader, "persistent_workers", False):
            raise ValueError(
                "the data loader has persistent_workers=True, whose random state can't be resumed; "
                "set it to False, or leave SeedEachEpoch out and do without exact resume."
            )
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seeds for the epoch that starts."""
        seed_epoch(engine.data_loader, self._seed, engine.state.epoch, idist.get_rank())


def seed_epoch(loader: Any, seed: int, epoch: int, rank: int = 0) -> None:
    """Seeds every source of randomness for an epoch over a data loader.

    Args:
        loader: whose generators and random transforms are seeded, too.
        seed: of the training.
        epoch: that starts.
        rank: of the process, or of whatever else must not draw alike.
    """
    mixed = epoch_seed(seed, epoch, rank)
    random.seed(mixed)
    np.random.seed(mixed)
    torch.manual_seed(mixed)
    _seed_loader(loader, mixed)


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """Hashes seed, epoch and process into 32 bits, so that neighboring seeds share nothing."""
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0])


def _seed_loader(loader: Any, seed: int) -> None:
    for holder in (loader, getattr(loader, "sampler", None)):
        generator = getattr(holder, "generator", None)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(seed)
    if getattr(loader, "dataset", None) is not None:
        set_rnd(loader.dataset, seed)
