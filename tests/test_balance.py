import math

import pytest
import torch
import torch.distributed as dist

from mtmedformer_monai.balance import FAMOBalance, FixedBalance, UncertaintyBalance, make_balance, mean_over_ranks

BOTH, FIRST = torch.tensor([True, True]), torch.tensor([True, False])


def test_fixed_is_the_sum():
    assert FixedBalance()(torch.tensor([1.0, 2.0]), BOTH).item() == 3.0


def test_uncertainty_by_hand():
    balance = UncertaintyBalance(2)
    balance.log_variances.data = torch.tensor([math.log(2.0), 0.0])
    losses = torch.tensor([1.0, 2.0], requires_grad=True)
    value = balance(losses, BOTH)
    value.backward()
    assert value.item() == pytest.approx(1 / 2 + 2 + math.log(2) / 2)
    assert losses.grad.tolist() == pytest.approx([1 / 2, 1])  # exp(-s)
    assert balance.log_variances.grad.tolist() == pytest.approx([-1 / 2 + 1 / 2, -2 + 1 / 2])  # 1/2 - exp(-s) L


def test_uncertainty_rests_where_the_variance_is_twice_the_loss():
    balance, losses = UncertaintyBalance(2), torch.tensor([0.3, 4.0])
    optimizer = torch.optim.SGD(balance.parameters(), lr=0.5)
    for _ in range(100):
        optimizer.zero_grad()
        balance(losses, BOTH).backward()
        optimizer.step()
    assert balance.log_variances.exp().tolist() == pytest.approx([0.6, 8.0], rel=1e-3)


@pytest.mark.parametrize("name", ["fixed", "uncertainty", "famo"])
def test_a_task_without_label_is_as_if_it_were_not_there(name):
    losses = torch.tensor([2.0, 0.0], requires_grad=True)
    balance = make_balance(name, 2)
    value = balance(losses, FIRST)
    value.backward()
    assert value.item() == pytest.approx(make_balance(name, 1)(losses[:1].detach(), BOTH[:1]).item())
    assert losses.grad[1].item() == (1.0 if name == "fixed" else 0.0)  # a missing label has no slope itself
    for parameter in balance.parameters():
        assert parameter.grad[1].item() == 0.0
        assert parameter.grad[0].item() != 0.0


@pytest.mark.parametrize("name", ["fixed", "uncertainty", "famo"])
def test_no_label_at_all_is_an_exact_zero(name):
    losses = torch.zeros(2, requires_grad=True)
    value = make_balance(name, 2)(losses, ~BOTH)
    value.backward()
    assert value.item() == 0.0
    assert losses.grad.isfinite().all()


def test_famo_begins_with_a_mean_of_relative_gradients():
    losses = torch.tensor([1.0, 4.0], requires_grad=True)
    FAMOBalance(2)(losses, BOTH).backward()
    # Shares 1/2: a loss's slope goes as share / loss, 1/2 and 1/8, scaled to a sum of 1.
    assert losses.grad.tolist() == pytest.approx([0.8, 0.2])


def test_famo_by_hand_lifts_the_task_that_falls_slower():
    balance = FAMOBalance(2, rate=1.0, decay=0.0)
    balance(torch.tensor([1.0, 1.0]), BOTH)
    assert balance.logits.tolist() == [0.0, 0.0]  # one batch shows no fall
    balance(torch.tensor([1.0, math.exp(-1)]), BOTH)
    # Falls 0 and 1, shares 1/2, mean fall 1/2: steps of -(1/2)(0 - 1/2) and -(1/2)(1 - 1/2).
    assert balance.logits.tolist() == pytest.approx([0.25, -0.25])


def test_famo_decay_pulls_the_logits_to_zero():
    balance = FAMOBalance(2, rate=0.5, decay=0.2)
    balance.logits.copy_(torch.tensor([1.0, -1.0]))
    for _ in range(2):
        balance(torch.ones(2), BOTH)
    assert balance.logits.tolist() == pytest.approx([0.9, -0.9])  # one step: 1 - 0.5 * 0.2


def test_famo_remembers_a_task_over_batches_without_it():
    balance = FAMOBalance(2, decay=0.0)
    balance(torch.tensor([1.0, 1.0]), BOTH)
    balance(torch.tensor([math.exp(-1), 0.0]), FIRST)
    assert balance.logits.tolist() == [0.0, 0.0]  # alone it falls at the mean rate
    assert balance.previous.tolist() == pytest.approx([-1.0, 0.0])
    balance(torch.tensor([math.exp(-1), math.exp(-1)]), BOTH)
    assert balance.logits.tolist() == pytest.approx([0.25, -0.25])


def test_famo_learns_from_training_alone_and_survives_a_restart():
    balance = FAMOBalance(2)
    for losses in ([1.0, 1.0], [0.9, 0.5]):
        balance(torch.tensor(losses), BOTH)
    before = {name: value.clone() for name, value in balance.state_dict().items()}
    assert set(before) == {"logits", "previous"}
    balance.eval()(torch.tensor([9.0, 0.1]), BOTH)
    with torch.no_grad():
        balance.train()(torch.tensor([9.0, 0.1]), BOTH)
    assert all(torch.equal(value, balance.state_dict()[name]) for name, value in before.items())
    again = FAMOBalance(2)
    again.load_state_dict(before)
    losses = torch.tensor([0.8, 0.4])
    assert again(losses, BOTH).item() == balance(losses, BOTH).item()


@pytest.mark.parametrize("broken", [float("nan"), float("inf")], ids=str)
def test_famo_forgets_a_batch_that_went_wrong(broken):
    balance = FAMOBalance(2)
    balance(torch.ones(2), BOTH)
    balance(torch.tensor([broken, 0.5]), BOTH)
    assert balance.previous.tolist() == pytest.approx([0.0, math.log(0.5)])
    assert balance.logits.isfinite().all()


def test_an_unknown_balance_is_named():
    with pytest.raises(ValueError, match="'fixed', 'uncertainty' or 'famo', got 'gradnorm'"):
        make_balance("gradnorm", 2)


def test_means_count_the_ranks_that_have_the_task(monkeypatch):
    values = torch.tensor([1.0, 5.0, float("nan")])
    means, seen = mean_over_ranks(values, torch.tensor([True, False, False]))
    assert means.tolist() == [1.0, 0.0, 0.0]
    assert seen.tolist() == [True, False, False]
    monkeypatch.setattr(dist, "is_initialized", lambda: True)  # another rank counts tasks 0 and 1, with 3 and 5
    monkeypatch.setattr(dist, "all_reduce", lambda sums: sums.add_(torch.tensor([[3.0, 5, 0], [1, 1, 0]])))
    means, seen = mean_over_ranks(values, torch.tensor([True, False, False]))
    assert means.tolist() == [2.0, 5.0, 0.0]
    assert seen.tolist() == [True, True, False]
