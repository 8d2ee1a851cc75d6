import pytest
import torch

from mtmedformer_monai.federated.pvi.iterate_spread import IterateSpread


def walk(num_steps: int, seed: int = 0) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        {"encoder": 3 + torch.randn(4, 5, generator=generator), "scale": torch.randn((), generator=generator)}
        for _ in range(num_steps)
    ]


@pytest.mark.parametrize(("share", "last"), [(0.5, 5), (0.3, 3), (1.0, 10), (0.01, 1)])
def test_variance_of_the_last_steps(share, last):
    iterates, kept = walk(10), IterateSpread(share)
    for step, weights in enumerate(iterates, start=1):
        kept.add(weights, step, 10)
    assert set(kept.variances()) == set(iterates[0])
    for name, found in kept.variances().items():
        values = torch.stack([weights[name] for weights in iterates[-last:]])
        assert found == pytest.approx(values.var(dim=0).mean().item() if last > 1 else 0.0, rel=1e-4)


def test_weights_that_change_afterwards_do_not_change_the_spread():
    kept, weights = IterateSpread(1.0), {"w": torch.ones(3)}
    kept.add(weights, 1, 2)
    weights["w"].add_(2.0)
    kept.add(weights, 2, 2)
    weights["w"].zero_()
    assert kept.variances()["w"] == pytest.approx(2.0)


def test_a_share_of_zero_measures_nothing_and_a_round_starts_anew():
    kept = IterateSpread(0.0)
    kept.add({"w": torch.ones(1)}, 1, 1)
    assert kept.variances() == {}
    kept = IterateSpread(1.0)
    kept.add({"w": torch.ones(1)}, 1, 1)
    kept.clear()
    assert kept.variances() == {}


def test_half_precision_is_measured_in_single_precision():
    kept = IterateSpread(1.0)
    for step in range(1, 4):
        kept.add({"w": torch.full((2,), 1.0 + step / 128, dtype=torch.bfloat16)}, step, 3)
    assert kept.variances()["w"] == pytest.approx(1 / 128**2)
