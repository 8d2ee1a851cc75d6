import math

import pytest
import torch

from mtmedformer_monai.losses import INITIAL_BATCHES, HybridLoss
from mtmedformer_monai.tasks import ClassificationTask, SegmentationTask

NAN = float("nan")
LOG2 = math.log(2)


def two_tasks(weight: float = 1.0) -> list[ClassificationTask]:
    return [
        ClassificationTask("finding", ["no", "yes"], "binary", weight=weight),
        ClassificationTask("density", ["a", "b", "c", "d"]),
    ]


def guess() -> dict[str, torch.Tensor]:
    """Logits of 0: losses log 2 and log 4."""
    return {"finding": torch.zeros(1, 1, requires_grad=True), "density": torch.zeros(1, 4, requires_grad=True)}


def sure(logit: float) -> dict[str, torch.Tensor]:
    """Losses of softplus(-logit) and log 4."""
    return guess() | {"finding": torch.full((1, 1), logit)}


def targets(finding: float = 1.0, density: float = 2.0) -> dict[str, torch.Tensor]:
    return {"finding": torch.tensor([finding]), "density": torch.tensor([density])}


def test_fixed_weights_by_hand():
    loss = HybridLoss(two_tasks(weight=3.0), normalize=False)
    assert loss(guess(), targets()).item() == pytest.approx(3 * LOG2 + 2 * LOG2)
    assert {name: value.item() for name, value in loss.last.items()} == pytest.approx(
        {"finding": LOG2, "density": 2 * LOG2}
    )
    assert not any(value.requires_grad for value in loss.last.values())


def test_each_task_begins_at_its_weight():
    loss = HybridLoss(two_tasks(weight=3.0))
    assert loss(guess(), targets()).item() == pytest.approx(3 + 1)
    assert loss.initial.tolist() == pytest.approx([LOG2, 2 * LOG2])


def test_initial_losses_are_means_of_the_first_batches_and_then_stay():
    loss = HybridLoss(two_tasks())
    logits = [float(step) for step in range(INITIAL_BATCHES + 4)]
    for logit in logits:
        loss(sure(logit), targets())
    first = [math.log1p(math.exp(-logit)) for logit in logits[:INITIAL_BATCHES]]
    assert loss.initial.tolist() == pytest.approx([sum(first) / INITIAL_BATCHES, 2 * LOG2])
    assert loss.num_seen.tolist() == [INITIAL_BATCHES] * 2


def test_batches_without_the_task_or_with_a_broken_loss_do_not_count():
    loss = HybridLoss(two_tasks())
    for outputs, truth in ((guess(), targets(finding=NAN)), (sure(NAN), targets()), (sure(math.inf), targets(0.0))):
        loss(outputs, truth)
    assert loss.num_seen.tolist() == [0, 3]
    assert loss.initial[0].isnan()
    loss(guess(), targets())
    assert loss.initial[0].item() == pytest.approx(LOG2)


def test_validation_records_nothing_and_a_restart_goes_on():
    loss = HybridLoss(two_tasks())
    loss.eval()(guess(), targets())
    assert loss.initial.isnan().all()
    loss.train()(guess(), targets())
    assert set(loss.state_dict()) == {"initial", "num_seen"}
    again = HybridLoss(two_tasks())
    again.load_state_dict(loss.state_dict())
    assert again(sure(3.0), targets()).item() == loss(sure(3.0), targets()).item()
    assert torch.equal(again.initial, loss.initial)


def test_initial_losses_may_be_given():
    loss = HybridLoss(two_tasks(), initial={"finding": 2 * LOG2})
    assert loss(guess(), targets()).item() == pytest.approx(1 / 2 + 1)
    assert loss.initial.tolist() == pytest.approx([2 * LOG2, 2 * LOG2])
    assert loss.num_seen.tolist() == [INITIAL_BATCHES, 1]


@pytest.mark.parametrize("balance", ["fixed", "uncertainty", "famo"])
def test_a_missing_task_contributes_exactly_nothing(balance):
    loss, outputs = HybridLoss(two_tasks(), balance, normalize=False), guess()
    value = loss(outputs, targets(density=NAN))
    value.backward()
    alone = HybridLoss(two_tasks()[:1], balance, normalize=False)(guess(), targets())
    assert value.item() == pytest.approx(alone.item())
    assert (outputs["density"].grad == 0).all()
    assert outputs["finding"].grad.item() == pytest.approx(-0.5)  # every balance begins at weight 1
    assert list(loss.last) == ["finding"]
    for parameter in loss.parameters():
        assert parameter.grad[1].item() == 0.0


@pytest.mark.parametrize("balance", ["fixed", "uncertainty", "famo"])
def test_no_label_at_all_is_an_exact_zero(balance):
    loss, outputs = HybridLoss(two_tasks(), balance), guess()
    value = loss(outputs, targets(NAN, NAN))
    value.backward()
    assert value.item() == 0.0
    assert loss.last == {}
    for tensor in (*outputs.values(), *loss.parameters()):
        assert (tensor.grad == 0).all()


@pytest.mark.parametrize("balance", ["fixed", "uncertainty", "famo"])
def test_a_task_of_weight_0_is_watched_and_teaches_nothing(balance):
    loss, outputs = HybridLoss(two_tasks(weight=0.0), balance), guess()
    value = loss(outputs, targets())
    value.backward()
    assert value.item() == pytest.approx(HybridLoss(two_tasks()[1:], balance)(guess(), targets()).item())
    assert (outputs["finding"].grad == 0).all()
    assert set(loss.last) == {"finding", "density"}


@pytest.mark.parametrize("balance", ["fixed", "uncertainty", "famo"])
def test_the_order_of_tasks_never_matters(balance):
    first, second = HybridLoss(two_tasks(), balance), HybridLoss(two_tasks()[::-1], balance)
    for logit in (0.0, 1.0, 3.0):
        assert first(sure(logit), targets()).item() == pytest.approx(second(sure(logit), targets()).item())


def test_a_lone_perfect_task_does_not_divide_by_zero():
    task = SegmentationTask("lung", ["lung"])
    target = torch.ones(1, 1, 4, 4)
    value = HybridLoss([task])({"lung": torch.full((1, 1, 4, 4), 200.0)}, {"lung": target})
    assert value.item() == 0.0


def test_what_is_missing_is_named():
    loss = HybridLoss(two_tasks())
    with pytest.raises(KeyError, match=r"output and a target of task 'density', got outputs \['finding'\]"):
        loss({"finding": torch.zeros(1, 1)}, targets())
    with pytest.raises(KeyError, match=r"targets \['density'\]; give network, loss and batch one list of tasks"):
        loss(guess(), {"density": torch.zeros(1)})


def test_settings_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"initial expects tasks out of \['finding', 'density'\], got \['other'\]"):
        HybridLoss(two_tasks(), initial={"other": 1.0})
    with pytest.raises(ValueError, match=r"initial expects losses above 0, got \{'finding': 0\.0\}"):
        HybridLoss(two_tasks(), initial={"finding": 0.0})
    with pytest.raises(ValueError, match="balance expects"):
        HybridLoss(two_tasks(), "gradnorm")
