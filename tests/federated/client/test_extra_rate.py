"""The learning rate of a round that comes after those that a client's own schedule spans."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler

from mtmedformer_monai.engines import make_warmup_cosine
from mtmedformer_monai.federated.client.extra_rate import use_extra_rate

RATE = 0.8


def make_trainer(scheduled: bool):
    """Returns a trainer of two steps per epoch after the two epochs that its schedule spans."""
    network = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)
    batches = [{"image": torch.ones(2, 1), "label": torch.ones(2, 1)}] * 2
    trainer = SupervisedTrainer("cpu", 2, batches, network, optimizer, torch.nn.MSELoss())
    if scheduled:
        LrScheduleHandler(make_warmup_cosine(optimizer, 0, 4), print_lr=False, epoch_level=False).attach(trainer)
    trainer.run()
    return trainer


def run(trainer, epochs: int, extra: bool) -> list[float]:
    """Trains some epochs; returns the learning rates of their steps."""
    trainer.state.max_epochs = trainer.state.epoch + epochs
    rate = use_extra_rate(trainer) if extra else None
    rates: list[float] = []
    seen = trainer.add_event_handler(
        Events.ITERATION_STARTED, lambda: rates.append(trainer.optimizer.param_groups[0]["lr"])
    )
    trainer.run()
    seen.remove()
    if rate is not None:
        rate.remove()
    return rates


def test_an_extra_round_anneals_from_half_of_the_rate():
    trainer = make_trainer(scheduled=True)
    assert run(trainer, 1, extra=False) == pytest.approx([0.01 * RATE] * 2)  # the end of the schedule
    first = run(trainer, 2, extra=True)
    assert first[0] == pytest.approx(0.5 * RATE)
    assert first[2] == pytest.approx(0.5 * RATE * 0.505)  # half of the cosine, whose end is a hundredth
    assert first == sorted(first, reverse=True)
    assert run(trainer, 2, extra=True) == first
    assert run(trainer, 1, extra=False)[1] == pytest.approx(0.01 * RATE)


def test_a_constant_rate_remains():
    assert run(make_trainer(scheduled=False), 1, extra=True) == [RATE] * 2
