"""Gradient clipping, alone and with the gradient accumulation of the stock trainer."""

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer

from mtmedformer_monai.engines import ClipGradients


def train(batch_size: int, steps: int = 1, max_norm: float | None = None, optimizer=torch.optim.SGD) -> torch.Tensor:
    """One epoch of least squares on 6 items; returns the weights."""
    torch.manual_seed(0)
    items = [{"image": torch.randn(3), "label": torch.randn(1)} for _ in range(6)]
    network = torch.nn.Linear(3, 1)
    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=DataLoader(Dataset(items), batch_size=batch_size),
        network=network,
        optimizer=optimizer(network.parameters(), lr=0.1),
        loss_function=torch.nn.MSELoss(),
        train_handlers=[ClipGradients(max_norm)] if max_norm is not None else [],
        accumulation_steps=steps,
        decollate=False,
    ).run()
    return torch.cat([network.weight.detach().flatten(), network.bias.detach()])


def step_length(**options) -> float:
    """Returns the length of a full-batch step, compared with a negligible step."""
    return (train(6, **options) - train(6, max_norm=1e-12)).norm().item()


def test_one_step_is_as_long_as_the_norm_allows():
    assert step_length(max_norm=0.5) == pytest.approx(0.1 * 0.5, rel=1e-4)


def test_small_gradients_are_not_changed():
    assert torch.equal(train(6, max_norm=1e6), train(6))


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("max_norm", [None, 0.5], ids=["free", "clipped"])
def test_accumulation_equals_a_bigger_batch(optimizer, max_norm):
    accumulated = train(2, steps=3, max_norm=max_norm, optimizer=optimizer)
    assert torch.allclose(accumulated, train(6, max_norm=max_norm, optimizer=optimizer), atol=1e-6)


def test_the_rest_of_an_epoch_is_clipped_too():
    # 3 batches, steps after the second and (the flush) after the third: neither is longer than 0.1 * 1e-3.
    moved = (train(2, steps=2, max_norm=1e-3) - train(6, max_norm=1e-12)).norm().item()
    assert 0 < moved <= 0.1 * 2e-3 + 1e-7


def test_an_invalid_norm_is_refused():
    with pytest.raises(ValueError, match="max_norm expects a value above 0, got 0"):
        ClipGradients(0)
