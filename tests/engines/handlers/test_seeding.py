import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.transforms import RandGaussianNoise

from mtmedformer_monai.engines import SeedEachEpoch
from mtmedformer_monai.engines.handlers.seeding import epoch_seed


def engine(epoch: int, **options) -> SimpleNamespace:
    data = Dataset([torch.zeros(1, 4, 4)] * 4, RandGaussianNoise(prob=1.0))
    loader = DataLoader(data, batch_size=1, shuffle=True, **options)
    return SimpleNamespace(data_loader=loader, state=SimpleNamespace(epoch=epoch, epoch_length=4))


def draws(seed: int, epoch: int, **options) -> list[float]:
    """Returns numbers from each source of randomness after seeding."""
    here = engine(epoch, **options)
    SeedEachEpoch(seed)(here)
    batches = [float(batch.sum()) for batch in here.data_loader]
    return [random.random(), float(np.random.rand()), float(torch.rand(1)), *batches]


@pytest.mark.parametrize(
    "options", [{}, {"num_workers": 1}, {"generator": torch.Generator()}], ids=["plain", "worker", "own generator"]
)
def test_random_numbers_depend_on_epoch_and_seed(options):
    first = draws(1, 5, **options)
    draws(2, 9, **options)
    assert draws(1, 5, **options) == first
    assert all(a != b for a, b in zip(first, draws(1, 6, **options), strict=True))
    assert all(a != b for a, b in zip(first, draws(2, 5, **options), strict=True))


def test_processes_differ():
    assert len({epoch_seed(s, e, r) for s in range(3) for e in range(3) for r in range(3)}) == 27


def test_persistent_workers_are_refused():
    here = engine(1, num_workers=1, persistent_workers=True)
    with pytest.raises(ValueError, match=r"persistent_workers=True.*set it to False"):
        SeedEachEpoch().attach(here)


def test_epochs_that_are_no_pass_over_the_data_are_refused():
    here = engine(1)
    here.state.epoch_length = 3
    with pytest.raises(ValueError, match=r"epoch_length is 3, but the data loader has 4 batches.*omit epoch_length"):
        SeedEachEpoch().attach(here)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed expects 0 or more, got -1"):
        SeedEachEpoch(-1)
