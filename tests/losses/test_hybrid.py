import copy
import math
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from mtmedformer_monai.losses import ImpliedMask
from mtmedformer_monai.losses.hybrid import INITIAL_BATCHES, HybridLoss
from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask, Task

NAN, LOG2 = float("nan"), math.log(2)
BALANCES = ["fixed", "uncertainty", "famo"]


def two_tasks(weight: float = 1.0) -> list[Task]:
    return [
        ClassificationTask("first", ["no", "yes"], "binary"),
        ClassificationTask("second", ["a", "b", "c"], weight=weight),
    ]


def outputs_of(first: float = 0.0, second: float = 0.0) -> dict[str, Tensor]:
    """Logits whose loss is softplus(-first) and log(2 + exp(second)) - second, if the targets are those below."""
    return {"first": torch.tensor([[first]]), "second": torch.tensor([[second, 0.0, 0.0]])}


def targets_of(first: float = 1.0, second: float = 0.0) -> dict[str, Tensor]:
    return {"first": torch.tensor([first]), "second": torch.tensor([second])}


def test_plain_sum_by_hand():
    loss = HybridLoss(two_tasks(weight=0.5), normalize=False)
    assert loss(outputs_of(), targets_of()).item() == pytest.approx(LOG2 + 0.5 * math.log(3))
    assert {name: value.item() for name, value in loss.last.items()} == pytest.approx(
        {"first": LOG2, "second": math.log(3)}
    )


def test_initial_losses_normalize_the_tasks():
    loss = HybridLoss(two_tasks(weight=0.5))
    assert loss(outputs_of(), targets_of()).item() == pytest.approx(1.0 + 0.5)
    loss(outputs_of(first=-1.0), targets_of())
    mean = (LOG2 + math.log1p(math.e)) / 2
    assert loss.initial.tolist() == pytest.approx([mean, math.log(3)])


def test_losses_as_shares_of_the_initial_ones_by_hand():
    """The first task has half its initial loss, the second 2; then the second has no label, then none has."""
    loss = HybridLoss(two_tasks(weight=0.5), initial={"first": 2 * LOG2, "second": math.log(3) / 2})
    loss(outputs_of(), targets_of())
    assert loss.last_relative().tolist() == pytest.approx([1.25, 1.0])
    loss(outputs_of(), targets_of(second=NAN))
    assert loss.last_relative().tolist() == pytest.approx([0.5, 1.0])
    loss(outputs_of(), targets_of(NAN, NAN))
    assert loss.last_relative().tolist() == [0.0, 0.0]


def test_without_initial_losses_there_are_no_shares():
    loss = HybridLoss(two_tasks(), normalize=False)
    loss(outputs_of(), targets_of())
    assert loss.last_relative().tolist() == [0.0, 0.0]


def test_initial_losses_are_constant_after_the_first_batches():
    loss = HybridLoss(two_tasks())
    for _ in range(INITIAL_BATCHES):
        loss(outputs_of(), targets_of())
    before = loss.initial.clone()
    total = loss(outputs_of(first=-2.0), targets_of())
    assert torch.equal(loss.initial, before)
    assert total.item() == pytest.approx(math.log1p(math.e**2) / LOG2 + 1.0)


def test_initial_losses_wait_for_a_label_and_for_training():
    loss = HybridLoss(two_tasks())
    loss.eval()(outputs_of(), targets_of())
    assert loss.initial.isnan().all()
    loss.train()(outputs_of(), targets_of(second=NAN))
    assert loss.initial.isnan().tolist() == [False, True]
    assert loss.num_seen.tolist() == [1, 0]
    loss({**outputs_of(), "second": torch.full((1, 3), NAN)}, targets_of())  # diverged: must not be recorded
    assert loss.num_seen.tolist() == [2, 0]


def test_given_initial_losses_are_kept():
    loss = HybridLoss(two_tasks(), initial={"first": 2.0})
    for _ in range(3):
        loss(outputs_of(), targets_of())
    assert loss.initial.tolist() == pytest.approx([2.0, math.log(3)])
    with pytest.raises(ValueError, match=r"initial expects tasks out of .*, got \['third'\]"):
        HybridLoss(two_tasks(), initial={"third": 1.0})
    with pytest.raises(ValueError, match=r"initial expects losses above 0, got \{'first': 0\}"):
        HybridLoss(two_tasks(), initial={"first": 0})


@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize("junk", [0.0, float("inf"), NAN], ids=str)
def test_a_missing_task_contributes_exactly_nothing(balance, junk):
    first = HybridLoss(two_tasks()[:1], balance)
    both = HybridLoss(two_tasks(), balance)
    for step in (0.0, 0.5, 1.0):
        outputs = outputs_of(step, junk)
        outputs = {name: output.requires_grad_() for name, output in outputs.items()}
        total = both(outputs, targets_of(second=NAN))
        total.backward()
        assert total.item() == pytest.approx(first(outputs_of(step), targets_of()).item())
        assert (outputs["second"].grad == 0).all()
        assert "second" not in both.last


@pytest.mark.parametrize("balance", BALANCES)
def test_a_weight_of_zero_switches_a_task_off(balance):
    loss = HybridLoss(two_tasks(weight=0.0), balance)
    outputs = {name: output.requires_grad_() for name, output in outputs_of().items()}
    total = loss(outputs, targets_of())
    total.backward()
    assert total.item() == pytest.approx(HybridLoss(two_tasks()[:1], balance)(outputs, targets_of()).item())
    assert (outputs["second"].grad == 0).all()
    assert (outputs["first"].grad != 0).all()


class Logits(nn.Module):
    """A network with four parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.zeros(1, 1))
        self.second = nn.Parameter(torch.zeros(1, 3))

    def forward(self) -> dict[str, Tensor]:
        return {"first": self.first * 1.0, "second": self.second * 1.0}


def train(network: Logits, loss: HybridLoss, targets: list[dict[str, Tensor]]) -> None:
    parameters = [*network.parameters(), *loss.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.3)
    for target in targets:
        optimizer.zero_grad()
        loss(network(), target).backward()
        optimizer.step()


@pytest.mark.parametrize("balance", BALANCES)
def test_resuming_from_the_state_is_exact(balance):
    targets = [targets_of(), targets_of(second=NAN), targets_of(0.0), targets_of(NAN, 2.0)] * 6
    network, loss = Logits(), HybridLoss(two_tasks(), balance)
    train(network, loss, targets[:7])
    resumed, resumed_loss = copy.deepcopy(network), HybridLoss(two_tasks(), balance)
    resumed_loss.load_state_dict(loss.state_dict())
    train(network, loss, targets[7:])
    train(resumed, resumed_loss, targets[7:])
    for one, other in ((network, resumed), (loss, resumed_loss)):
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name


def test_a_task_without_output_or_target_is_an_error():
    with pytest.raises(KeyError, match=r"an output and a target of task 'second'.*use equal tasks"):
        HybridLoss(two_tasks())({"first": torch.zeros(1, 1)}, targets_of())


@pytest.mark.parametrize("balance", BALANCES)
def test_a_task_that_one_of_two_processes_has_a_label_for_learns_as_much(balance, monkeypatch):
    """The mean over both processes halves its gradient, which is doubled before; the loss itself stays."""

    def run():
        outputs = {name: torch.tensor([[0.5]], requires_grad=True) for name in ("first", "second")}
        total = HybridLoss(two_tasks(), balance, normalize=False)(outputs, targets_of())
        total.backward()
        return total.item(), [outputs[name].grad.item() for name in ("first", "second")]

    alone, gradients = run()
    module = "mtmedformer_monai.losses.balance"
    monkeypatch.setattr(f"{module}.dist.is_initialized", lambda: True)
    monkeypatch.setattr(f"{module}.dist.get_world_size", lambda: 2)
    monkeypatch.setattr(f"{module}.mean_over_ranks", lambda values, seen: (values, seen))
    monkeypatch.setattr(f"{module}.dist.all_reduce", lambda counts: counts.copy_(torch.tensor([1.0, 2.0])))
    together, scaled = run()
    assert together == alone
    assert scaled == pytest.approx([2.0 * gradients[0], gradients[1]])


def worker(rank: int, port: int, folder: str, balance: str) -> None:
    torch.set_num_threads(1)  # OpenMP threads do not survive a fork
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    network, loss = Logits(), HybridLoss(two_tasks(), balance)
    train(network, loss, [targets_of(second=[0.0, NAN][rank]), targets_of(float(rank), float(rank)), targets_of()])
    torch.save(loss.state_dict(), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("balance", BALANCES)
def test_processes_keep_one_state(tmp_path, balance):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    mp.start_processes(worker, (port, str(tmp_path), balance), nprocs=2, start_method="fork")
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert first["num_seen"].tolist() == [3, 3]
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize("balance", BALANCES)
def test_a_training_step_never_waits_for_the_device(balance):
    """Tensors without data raise an error whenever a value is read, as `bool`, `item` and boolean masks do."""
    tasks = [
        SegmentationTask("lung", ["lung"]),
        SegmentationTask("opacity", ["opacity"], batch_dice=True),
        DetectionTask("opacity_box", ["opacity"]),
        ClassificationTask("finding", ["normal", "pneumonia"], kind="binary"),
        ClassificationTask("density", ["a", "b", "c", "d"], kind="ordinal"),
        ClassificationTask("signs", ["mass", "nodule"], kind="multilabel"),
    ]
    shapes = {"lung": (1, 64, 64), "opacity": (1, 64, 64), "opacity_box": (3, 5), "finding": (), "density": ()}
    with torch.device("meta"):
        network = MTMedFormer(HierarchicalTransformer("tiny"), tasks)
        targets = {name: torch.zeros(2, *shape) for name, shape in {**shapes, "signs": (2,)}.items()}
        outputs = network(torch.zeros(2, 1, 64, 64))
    implied = ImpliedMask(
        "opacity", boxes="opacity_box", finding="finding", absent=["normal"], present=["pneumonia"], inside="lung"
    )
    HybridLoss(tasks, balance, implied=[implied]).to("meta")(outputs, targets).backward()
    assert all(weight.grad is not None for weight in network.parameters())
