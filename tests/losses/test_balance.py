import math

import pytest
import torch

from mtmedformer_monai.losses.balance import (
    FAMOBalance,
    FixedBalance,
    UncertaintyBalance,
    make_balance,
    mean_over_ranks,
)

BOTH = torch.tensor([True, True])
FIRST = torch.tensor([True, False])


def test_fixed_is_the_sum():
    assert FixedBalance()(torch.tensor([1.0, 2.0]), BOTH).item() == 3.0


def test_uncertainty_by_hand():
    balance = UncertaintyBalance(2)
    balance.log_variances.data = torch.tensor([math.log(2), 0.0])
    losses = torch.tensor([4.0, 1.0], requires_grad=True)
    total = balance(losses, BOTH)
    total.backward()
    assert total.item() == pytest.approx(4 / 2 + math.log(2) / 2 + 1)  # exp(-s) L + s / 2
    assert losses.grad.tolist() == pytest.approx([0.5, 1.0])  # exp(-s)
    assert balance.log_variances.grad.tolist() == pytest.approx([-4 / 2 + 0.5, -1 + 0.5])  # -exp(-s) L + 1/2


def test_the_optimal_variance_is_twice_the_loss():
    balance = UncertaintyBalance(2)
    balance.log_variances.data = torch.tensor([6.0, 0.5]).log()
    balance(torch.tensor([3.0, 0.25]), BOTH).backward()
    assert balance.log_variances.grad.tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def test_uncertainty_of_an_absent_task_gets_no_gradient():
    balance = UncertaintyBalance(2)
    balance.log_variances.data = torch.tensor([0.3, -0.7])
    total = balance(torch.tensor([2.0, 0.0]), FIRST)
    total.backward()
    assert total.item() == pytest.approx(2 * math.exp(-0.3) + 0.15)
    assert balance.log_variances.grad[1].item() == 0.0


@pytest.mark.parametrize("balance", [UncertaintyBalance(2), FAMOBalance(2)], ids=["uncertainty", "famo"])
def test_ranks_wait_for_one_another_in_training_alone(balance, monkeypatch):
    """In validation they may have different numbers of batches, and would wait for ever."""
    calls = []
    monkeypatch.setattr("mtmedformer_monai.losses.balance.dist.is_initialized", lambda: True)
    monkeypatch.setattr("mtmedformer_monai.losses.balance.dist.all_reduce", calls.append)
    losses = torch.tensor([2.0, 1.0])
    with torch.no_grad():
        balance.train()(losses, BOTH)
    balance.eval()(losses, BOTH)
    assert calls == []
    balance.train()(losses, BOTH)
    assert len(calls) == 1


def test_famo_joins_log_losses_by_hand():
    balance = FAMOBalance(2).eval()
    losses = torch.tensor([2.0, 8.0], requires_grad=True)
    total = balance(losses, BOTH)
    total.backward()
    scale = 1 / (0.5 / 2 + 0.5 / 8)
    assert total.item() == pytest.approx(scale * (0.5 * math.log(2) + 0.5 * math.log(8)))
    assert losses.grad.tolist() == pytest.approx([scale * 0.5 / 2, scale * 0.5 / 8])  # c z / L
    assert losses.grad.sum().item() == pytest.approx(1.0)  # so the joint gradient is a convex combination of the tasks'


def test_famo_weighs_the_tasks_of_several_ranks_as_those_of_one(monkeypatch):
    """This rank has losses of 2 and none, the other one of 4 and 8, so the means are 3 and 8."""
    means = torch.tensor([3.0, 8.0])
    monkeypatch.setattr("mtmedformer_monai.losses.balance.mean_over_ranks", lambda values, counted: (means, BOTH))
    losses = torch.tensor([2.0, 0.0], requires_grad=True)
    FAMOBalance(2)(losses, FIRST).backward()
    scale = 1 / (0.5 / 3 + 0.5 / 8)
    assert losses.grad.tolist() == pytest.approx([scale * 0.5 / 3, 0.0])


def test_famo_steps_by_hand():
    balance = FAMOBalance(2, rate=0.5, decay=0.1)
    balance(torch.tensor([1.0, 1.0]).exp(), BOTH)
    assert balance.logits.tolist() == [0.0, 0.0]  # there is no previous loss yet
    balance(torch.tensor([0.5, 0.0]).exp(), BOTH)
    # Falls 0.5 and 1; z = 1/2, 1/2; z (fall - 0.75) = -0.125, 0.125: the slower task gains weight.
    assert balance.logits.tolist() == pytest.approx([0.0625, -0.0625])
    share = 1 / (1 + math.exp(-0.125))
    balance(torch.tensor([0.5, -0.2]).exp(), BOTH)
    pull = share * (1 - share) * 0.2  # falls 0 and 0.2
    assert balance.logits.tolist() == pytest.approx(
        [0.0625 - 0.5 * (-pull + 0.1 * 0.0625), -0.0625 - 0.5 * (pull - 0.1 * 0.0625)]
    )


def test_famo_does_not_change_an_absent_task():
    balance = FAMOBalance(2)
    balance(torch.tensor([2.0, 3.0]), BOTH)
    losses = torch.tensor([1.0, 0.0], requires_grad=True)
    balance(losses, FIRST).backward()
    assert losses.grad.tolist() == pytest.approx([1.0, 0.0])
    assert balance.logits[1].item() == 0.0
    assert balance.previous.tolist() == pytest.approx([0.0, math.log(3)])


def test_famo_does_not_step_in_evaluation():
    balance = FAMOBalance(1).eval()
    balance(torch.tensor([2.0]), torch.tensor([True]))
    assert balance.previous.isnan().all()
    with torch.no_grad():
        balance.train()(torch.tensor([2.0]), torch.tensor([True]))
    assert balance.previous.isnan().all()


@pytest.mark.parametrize("name", ["fixed", "uncertainty", "famo"])
def test_no_task_present_is_zero_with_a_gradient_of_zero(name):
    losses = torch.zeros(2, requires_grad=True)
    balance = make_balance(name, 2)
    total = balance(losses * 1.0, torch.tensor([False, False]))
    total.backward()
    assert total.item() == 0.0
    assert losses.grad.isfinite().all()
    assert all((parameter.grad == 0).all() for parameter in balance.parameters())


def test_a_single_process_keeps_its_values():
    means, seen = mean_over_ranks(torch.tensor([2.0, float("nan")]), FIRST)
    assert means.tolist() == [2.0, 0.0]
    assert seen.tolist() == [True, False]


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="balance expects 'fixed', 'uncertainty' or 'famo', got 'best'"):
        make_balance("best", 2)
