import pytest
import torch

from mtmedformer_monai.uncertainty.sampling import draw_weights, task_of, trained_share_by_task


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_draws_have_the_posteriors_moments():
    mean = {"a": torch.full((20000,), 1.0), "b": torch.full((20000,), -2.0)}
    precision = {"a": torch.full((20000,), 4.0), "b": torch.full((20000,), 0.25)}
    drawn = draw_weights(mean, precision, 0.5, generator())
    for name, center, variance in (("a", 1.0, 0.125), ("b", -2.0, 2.0)):  # T / Lambda
        assert drawn[name].mean().item() == pytest.approx(center, abs=0.04)  # at most 1.41 / sqrt(20000) = 0.01 off
        assert drawn[name].var().item() == pytest.approx(variance, rel=0.05)


def test_temperature_zero_gives_the_means_bit_for_bit():
    mean = {"w": torch.randn(50)}
    drawn = draw_weights(mean, {"w": torch.rand(50) + 0.1}, 0.0, generator())
    assert torch.equal(drawn["w"], mean["w"])


def test_the_generator_decides_and_the_order_of_names_does_not():
    mean = {"a": torch.zeros(3), "b": torch.zeros(2), "kept": torch.ones(1)}
    precision = {"a": torch.ones(3), "b": torch.ones(2)}
    one = draw_weights(mean, precision, 1.0, generator(7))
    other = draw_weights(mean, dict(reversed(precision.items())), 1.0, generator(7))
    assert list(one) == ["a", "b"]  # without precision: not drawn
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["a"], draw_weights(mean, precision, 1.0, generator(8))["a"])


def test_temperature_scales_the_same_noise():
    mean, precision = {"w": torch.zeros(9)}, {"w": torch.ones(9)}
    cold, hot = (draw_weights(mean, precision, value, generator())["w"] for value in (0.01, 1.0))
    assert torch.allclose(10 * cold, hot)


@pytest.mark.parametrize(
    ("precision", "temperature", "error", "match"),
    [
        ({"w": torch.tensor([1.0, 0.0])}, 1.0, ValueError, "parameter 'w' expects precision above 0, got 0"),
        ({"w": torch.ones(2)}, -1.0, ValueError, "temperature expects a number of 0 or more, got -1"),
        ({"v": torch.ones(2)}, 1.0, KeyError, "have a precision but no mean"),
    ],
    ids=["precision", "temperature", "unknown"],
)
def test_what_can_not_be_drawn_is_named(precision, temperature, error, match):
    with pytest.raises(error, match=match):
        draw_weights({"w": torch.zeros(2)}, precision, temperature, generator())


@pytest.mark.parametrize(
    ("parameter", "task"),
    [
        ("encoder.stages.0.weight", "shared"),
        ("pyramids.shared.top.weight", "shared"),
        ("pyramids.lung.top.weight", "lung"),
        ("decoders.finding.logits.bias", "finding"),
        ("image_network.decoders.box.tower.0.norm.weight", "box"),
        ("fusions.breast.view", "breast"),
        ("network.decoders.lung.logits.weight", "lung"),
    ],
)
def test_a_parameters_name_tells_its_task(parameter, task):
    assert task_of(parameter) == task


def test_a_untrained_task_has_no_trained_share():
    prior = {"encoder.w": torch.tensor(0.5), "decoders.lung.w": torch.tensor(0.5), "decoders.box.w": torch.ones(2)}
    posterior = {
        "encoder.w": torch.tensor([0.5, 0.6, 0.7, 0.8]),
        "decoders.lung.w": torch.tensor([0.9]),
        "decoders.box.w": torch.ones(2),
    }
    assert trained_share_by_task(posterior, prior) == {"shared": 0.75, "lung": 1.0, "box": 0.0}
