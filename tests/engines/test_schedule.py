from types import SimpleNamespace

import pytest
import torch

from mtmedformer_monai.engines import follow_trainer, make_warmup_cosine, warmup_cosine


def test_values_by_hand():
    # 4 steps up: 1/4, 1/2, 3/4, 1. Then 8 steps down from 1 to 0.2: a quarter of the way, half, the end.
    values = [warmup_cosine(step, 4, 12, final=0.2) for step in range(14)]
    assert values[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert values[6] == pytest.approx(0.2 + 0.8 * (1 + 2**-0.5) / 2)
    assert values[8] == pytest.approx(0.6)
    assert values[12:] == pytest.approx([0.2, 0.2])


def test_no_warmup_starts_at_the_top():
    assert warmup_cosine(0, 0, 10) == 1.0


def test_schedule_multiplies_each_group():
    first, second = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    optimizer = torch.optim.SGD([{"params": [first], "lr": 1.0}, {"params": [second], "lr": 0.1}])
    schedule = make_warmup_cosine(optimizer, warmup_steps=2, total_steps=10, final=0.0)
    rates = []
    for _ in range(10):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    assert rates[:2] == [[0.5, 0.05], [1.0, 0.1]]
    assert rates[6][0] == pytest.approx(0.5)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0)


def test_long_warmup_is_cut_and_state_keeps_no_length():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make_warmup_cosine(optimizer, warmup_steps=100, total_steps=9)
    assert schedule.get_last_lr() == pytest.approx([1 / 3])
    longer = make_warmup_cosine(optimizer, warmup_steps=3, total_steps=90)
    longer.load_state_dict(schedule.state_dict())
    assert longer.lr_lambdas[0].keywords["total_steps"] == 90


def test_invalid_lengths_are_refused():
    with pytest.raises(ValueError, match="got 0 and 1; total_steps is the number of epochs times the iterations"):
        make_warmup_cosine(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), 1, 0)


def schedule_of(trained: int, planned: int, made=make_warmup_cosine):
    """The schedule of a trainer of 10 iterations per epoch, whose number of epochs was set by itself."""
    schedule = made(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), 10, planned * 10)
    follow_trainer(schedule, SimpleNamespace(state=SimpleNamespace(max_epochs=trained, epoch_length=10)), planned)
    return schedule


@pytest.mark.parametrize(("trained", "warmup"), [(50, 10), (2, 6), (30, 10)], ids=["longer", "shorter", "equal"])
def test_a_schedule_lasts_as_long_as_its_trainer(trained, warmup):
    schedule = schedule_of(trained, planned=30)
    shape = schedule.lr_lambdas[0].keywords
    assert (shape["total_steps"], shape["warmup_steps"]) == (10 * trained, warmup)
    assert schedule.optimizer.param_groups[0]["lr"] == pytest.approx(1 / warmup)


def test_a_schedule_of_another_kind_keeps_its_length():
    schedule = schedule_of(50, 30, lambda optimizer, *_: torch.optim.lr_scheduler.StepLR(optimizer, 7))
    assert schedule.step_size == 7
