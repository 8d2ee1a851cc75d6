import pytest
import torch

from mtmedformer_monai.federated.strategies.iterate_samples import IterateSamples, posterior_delta


def test_samples_by_hand():
    """Of ten steps the first four are skipped; the rest are two stretches of three."""
    samples = IterateSamples(num_samples=2, burn_in=0.4)
    for step in range(1, 11):
        samples.add({"w": torch.tensor([float(step)])}, step, 10)
    assert [each["w"].item() for each in samples.samples()] == [6.0, 9.0]


def test_fewer_steps_are_fewer_samples():
    samples = IterateSamples(num_samples=5, burn_in=0.5)
    for step in (1, 2, 3):
        samples.add({"w": torch.tensor([float(step)])}, step, 3)
    assert [each["w"].item() for each in samples.samples()] == [2.0, 3.0]
    samples.clear()
    assert samples.samples() == []


def test_weights_may_change_after_they_were_seen():
    samples, weight = IterateSamples(1, 0.0), torch.tensor([1.0])
    samples.add({"w": weight}, 1, 2)
    weight += 2.0
    samples.add({"w": weight}, 2, 2)
    assert samples.samples()[0]["w"].item() == 2.0


@pytest.mark.parametrize("shrinkage", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("num_samples", [1, 2, 6])
def test_the_dynamic_program_equals_a_dense_inverse(num_samples, shrinkage):
    generator = torch.Generator().manual_seed(0)
    shapes = {"a": (2, 3), "b": (4,)}
    start = {name: torch.randn(shape, generator=generator).double() for name, shape in shapes.items()}
    samples = [
        {name: torch.randn(shape, generator=generator).double() for name, shape in shapes.items()}
        for _ in range(num_samples)
    ]
    vectors = torch.stack([torch.cat([each["a"].flatten(), each["b"]]) for each in samples])
    share = 1.0 / (1.0 + (num_samples - 1) * shrinkage)
    centered = vectors - vectors.mean(dim=0)
    sample_covariance = centered.T @ centered / max(num_samples - 1, 1)
    covariance = share * torch.eye(10, dtype=torch.float64) + (1 - share) * sample_covariance
    difference = torch.cat([start["a"].flatten(), start["b"]]) - vectors.mean(dim=0)
    expected = torch.linalg.solve(covariance, difference)
    delta = posterior_delta(start, samples, shrinkage)
    torch.testing.assert_close(torch.cat([delta["a"].flatten(), delta["b"]]), expected)
