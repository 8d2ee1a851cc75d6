from __future__ import annotations

import copy

import pytest
import torch

from mtmedformer_monai.federated.client.loss_scales import (
    LossScales,
    fix_initial_losses,
    measure_initial_losses,
    split_initial_losses,
)
from mtmedformer_monai.losses.hybrid import INITIAL_BATCHES, HybridLoss
from tests.federated.tiny_client import make_tasks, make_trainer

BOTH, LEFT = {"left": "yes", "right": "no"}, {"left": "no"}


def normalizing(labels, **others):
    trainer = make_trainer(labels, **others)
    trainer.loss_function = HybridLoss(make_tasks())
    return trainer


def test_sums_and_counts_are_those_of_batches_that_have_the_task():
    trainer = normalizing([BOTH] * 4 + [LEFT] * 4)
    terms = measure_initial_losses(trainer, 16)
    trainer.network.eval()
    batches = list(trainer.data_loader)
    losses = [trainer.loss_function.tasks[0].loss(trainer.network(b["image"])["left"], b["left"]) for b in batches]
    torch.testing.assert_close(terms["loss_sum/left"], torch.stack(losses).sum().detach())
    assert float(terms["loss_count/left"]) == 2.0
    assert float(terms["loss_count/right"]) == 1.0


def test_measuring_changes_nothing():
    trainer = normalizing([BOTH] * 8)
    before = copy.deepcopy((trainer.network.state_dict(), trainer.loss_function.state_dict()))
    measure_initial_losses(trainer, 1)
    torch.testing.assert_close(
        (trainer.network.state_dict(), trainer.loss_function.state_dict()), before, equal_nan=True
    )
    assert trainer.network.training
    assert trainer.loss_function.training


def test_a_stock_loss_has_no_scales():
    trainer = make_trainer([BOTH])
    trainer.loss_function = torch.nn.MSELoss()
    assert measure_initial_losses(trainer, 4) == {}
    fix_initial_losses(trainer.loss_function, {"left": 1.0})


def test_all_sites_get_the_mean_of_two_and_keep_it():
    scales = LossScales()
    scales.add({"loss_sum/left": torch.tensor(6.0), "loss_count/left": torch.tensor(2.0)})
    scales.add({"loss_sum/left": torch.tensor(1.0), "loss_count/left": torch.tensor(2.0)})
    rest, found = split_initial_losses({"mean/w": torch.zeros(1), **scales.broadcast()})
    assert list(rest) == ["mean/w"]
    assert found == {"left": 1.75}
    loss = HybridLoss(make_tasks())
    fix_initial_losses(loss, found)
    outputs = {name: torch.randn(2, 1) for name in ("left", "right")}
    loss(outputs, {"left": torch.ones(2), "right": torch.ones(2)})
    assert loss.initial[0] == 1.75
    assert loss.initial[1].isnan(), "nobody has measured it: it counts plainly"
    assert loss.num_seen.tolist() == [INITIAL_BATCHES] * 2


@pytest.mark.parametrize("stated", [(0.0, 1.0), (1e6, 1.0), (1e6, 1e12)], ids=["none", "huge", "many batches"])
def test_one_site_of_three_moves_a_scale_no_further_than_to_another_sites(stated):
    for order in (slice(None), slice(None, None, -1)):
        scales = LossScales()
        for total, count in [(3.0, 2.0), (8.0, 4.0), stated][order]:
            scales.add({"loss_sum/left": torch.tensor(total), "loss_count/left": torch.tensor(count)})
        assert 1.5 <= float(scales.broadcast()["setting/initial_loss/left"]) <= 2.0


def test_losses_that_would_turn_a_task_off_or_name_none_are_refused():
    for name, total, reason in (("left", 3e6, "a mean of at most 1e"), ("../left", 1.0, "expects names of tasks")):
        with pytest.raises(ValueError, match=reason):
            LossScales().add({f"loss_sum/{name}": torch.tensor(total), f"loss_count/{name}": torch.tensor(2.0)})


def test_a_client_that_measures_its_own_scale_is_warned(caplog):
    fix_initial_losses(HybridLoss(make_tasks()), {})
    assert "Call measure_losses() at the clients before the first round" in caplog.text
    caplog.clear()
    fix_initial_losses(HybridLoss(make_tasks(), initial={"left": 1.0, "right": 2.0}), {})
    fix_initial_losses(HybridLoss(make_tasks(), normalize=False), {})
    assert caplog.text == ""


@pytest.mark.parametrize(
    "terms",
    [
        {"mean/w": torch.tensor(1.0)},
        {"loss_sum/a": torch.tensor(float("nan"))},
        {"loss_sum/a": torch.ones(2)},
        {"loss_sum/a": torch.tensor(1e200, dtype=torch.float64)},
    ],
    ids=["other", "nan", "shape", "extreme"],
)
def test_other_terms_are_refused(terms):
    with pytest.raises(ValueError, match="initial losses expect finite numbers"):
        LossScales().add(terms)


@pytest.mark.parametrize(
    ("total", "count"),
    [(0.0, -11.0), (-1.0, 2.0), (1.0, 0.0), (1.0, None), (None, 2.0)],
    ids=["negative count", "negative sum", "no batch", "no count", "no sum"],
)
def test_losses_that_turn_a_scale_or_have_none_are_refused(total, count):
    """A negative scale would make every client train to increase a task's loss."""
    scales = LossScales()
    scales.add({"loss_sum/left": torch.tensor(7.0), "loss_count/left": torch.tensor(10.0)})
    given = {"loss_sum/left": total, "loss_count/left": count}
    with pytest.raises(ValueError, match="expect a sum of 0 or more and a count of 1 or more of 'left'"):
        scales.add({name: torch.tensor(value) for name, value in given.items() if value is not None})
    assert scales.broadcast()["setting/initial_loss/left"].item() == pytest.approx(0.7)
