from __future__ import annotations

import copy
import random

import pytest
import torch
from ignite.engine import Events
from ignite.metrics import Average
from monai.data import DataLoader
from monai.handlers import CheckpointLoader, LrScheduleHandler, ValidationHandler

from mtmedformer_monai.engines import LoadInitialWeights, ResumeTraining, SeedEachEpoch, TrainingState
from mtmedformer_monai.federated.client.client_memory import (
    capture_trainer,
    drop_loaders,
    registered,
    reset_optimizer,
    restore_trainer,
    seed_each_epoch,
    stateful_parts,
)
from tests.federated.tiny_client import make_trainer

BOTH = {"left": "yes", "right": "no"}


class Counter:
    """Counts epochs in a filtered event."""

    def __init__(self):
        self.count = 0

    def attach(self, engine):
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=1), self.add)

    def add(self):
        self.count += 1

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def scheduled(counter):
    trainer = make_trainer([BOTH] * 4, key_train_metric={"loss": Average(lambda output: output["loss"])})
    schedule = torch.optim.lr_scheduler.ExponentialLR(trainer.optimizer, 0.5)
    LrScheduleHandler(schedule, print_lr=False).attach(trainer)
    counter.attach(trainer)
    return trainer


def test_parts_are_what_handlers_remember_but_metrics():
    counter = Counter()
    assert set(stateful_parts(scheduled(counter))) == {"Counter_0", "ExponentialLR_0"}


def test_a_new_trainer_resumes():
    counters = Counter(), Counter()
    trainer, again = scheduled(counters[0]), scheduled(counters[1])
    for epochs in (1, 2):
        trainer.state.max_epochs = epochs
        trainer.run()
    saved = copy.deepcopy(capture_trainer(trainer))  # a file would also be a copy
    restore_trainer(again, saved)
    assert counters[1].count == 2
    for each in (trainer, again):
        each.state.max_epochs = 3
        each.run()
    torch.testing.assert_close(trainer.network.state_dict(), again.network.state_dict(), rtol=0, atol=0)
    assert again.optimizer.param_groups[0]["lr"] == 0.01 * 0.5**3


def test_reset_forgets_moments():
    trainer = make_trainer([BOTH] * 4)
    trainer.run()
    assert trainer.optimizer.state
    reset_optimizer(trainer)
    assert not trainer.optimizer.state
    assert trainer.optimizer.param_groups[0]["lr"] == 0.01


def test_what_loads_a_checkpoint_goes_and_the_rest_stays(tmp_path):
    trainer = make_trainer([BOTH] * 4)
    CheckpointLoader(str(tmp_path / "not_there.pt"), {"model": trainer.network}).attach(trainer)
    LoadInitialWeights(trainer.network, str(tmp_path / "not_there.pt")).attach(trainer)
    ResumeTraining(TrainingState(), str(tmp_path / "not_there.pt")).attach(trainer)
    counter = Counter()
    counter.attach(trainer)
    drop_loaders(trainer, None)
    trainer.run()
    assert counter.count == 1


def test_randomness_is_seeded_where_the_bundle_does_not():
    drawn = []
    for _ in range(2):
        trainer = make_trainer([BOTH] * 4)
        seed_each_epoch(trainer, seed=3)
        trainer.add_event_handler(Events.EPOCH_STARTED, lambda: drawn.append(random.random()))
        trainer.run()
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("bundle", ["seeds", "keeps its workers"])
def test_a_seeding_bundle_is_left_alone(bundle):
    trainer = make_trainer([BOTH] * 4, handlers=[SeedEachEpoch(1)] if bundle == "seeds" else [])
    if bundle != "seeds":
        trainer.data_loader = DataLoader(trainer.data_loader.dataset, num_workers=1, persistent_workers=True)
    before = len(registered(trainer))
    seed_each_epoch(trainer, seed=3)
    assert len(registered(trainer)) == before


def test_handlers_are_found_behind_methods_and_filters():
    trainer, counter = make_trainer([BOTH] * 4), Counter()
    handler = ValidationHandler(interval=2)
    handler.attach(trainer)
    counter.attach(trainer)
    assert any(each is handler for each in registered(trainer))
    assert any(each is counter for each in registered(trainer))
