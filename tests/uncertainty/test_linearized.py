import math
from dataclasses import replace

import pytest
import torch

from mtmedformer_monai.tasks import ClassificationTask
from mtmedformer_monai.uncertainty.linearized import LastLayerInferer, logit_variance, probit_logits
from mtmedformer_monai.uncertainty.posterior_file import WeightPosterior
from mtmedformer_monai.uncertainty.posterior_inferer import PosteriorInferer
from tests.networks.small import every_kind, small_network


def test_variance_by_hand():
    features = torch.tensor([[2.0, 1.0]])
    weights, bias = torch.tensor([[4.0, 0.5], [1.0, 1.0]]), torch.tensor([10.0, 2.0])
    found = logit_variance(features, weights, bias, temperature=0.5)
    assert found.tolist() == [pytest.approx([0.5 * (4 / 4 + 1 / 0.5 + 0.1), 0.5 * (4 + 1 + 0.5)])]
    assert logit_variance(features, weights).tolist() == [pytest.approx([3.0, 5.0])]


@pytest.mark.parametrize("logit", [0.0, 0.7, -2.0])
def test_a_mean_sigmoid_agrees_with_its_integral(logit):
    deviation = 1.5
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    density = torch.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    exact = torch.trapezoid(density * torch.sigmoid(logit + deviation * z), z).item()
    mean, variance = torch.tensor([[logit]]), torch.tensor([[deviation**2]])
    assert probit_logits(mean, variance).sigmoid().item() == pytest.approx(exact, abs=0.01)  # MacKay's approximation


def test_without_variance_logits_are_unchanged():
    logits = torch.randn(5, 3)
    assert torch.equal(probit_logits(logits, torch.zeros(5, 3)), logits)


def last_layer_posterior(network, names):
    parameters = {name: value for name, value in network.named_parameters() if name.startswith(names)}
    torch.manual_seed(1)
    precision = {name: 1.0 + 9.0 * torch.rand_like(value) for name, value in parameters.items()}
    return WeightPosterior(precision, {name: torch.tensor(0.5) for name in precision}, temperature=2.0)


def test_agrees_with_draws_of_the_last_layer():
    tasks = [task for task in every_kind() if isinstance(task, ClassificationTask) and task.kind != "ordinal"]
    network = small_network(tasks).eval()
    image = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    posterior = last_layer_posterior(network, tuple(f"decoders.{task.name}.logits." for task in tasks))
    linearized = LastLayerInferer(posterior, tasks)(image, network)
    drawn = PosteriorInferer(posterior, tasks, num_samples=100)(image, network)
    plain = network(image)
    for task in tasks:
        probs, expected = task.activate(linearized[task.name]), task.activate(drawn[task.name])
        far = (task.activate(plain[task.name]) - expected).abs().max()
        assert (probs - expected).abs().max() < 0.1, task.name  # 100 draws of a spread of 0.4: 0.04
        assert linearized[f"{task.name}.logit_std"].min() > 1.0
        assert far > 0.02, task.name  # the draws do move the mean


def test_a_calibrated_task_averages_the_divided_logits():
    task = ClassificationTask("binary", ["no", "yes"], kind="binary").calibrate(0.5, {})
    network = small_network([task]).eval()
    image = torch.rand(1, 1, 32, 32)
    posterior = last_layer_posterior(network, ("decoders.binary.logits.",))
    outputs, plain = LastLayerInferer(posterior, [task])(image, network), network(image)["binary"]
    doubled = probit_logits(2 * plain, (2 * outputs["binary.logit_std"]) ** 2)  # 1 / 0.5 times as wide
    torch.testing.assert_close(task.activate(outputs["binary"])[:, 1:], doubled.sigmoid())


def test_the_network_keeps_no_hook_and_other_outputs_stay():
    network = small_network().eval()
    image = torch.rand(1, 1, 32, 32)
    posterior = last_layer_posterior(network, ("decoders.binary.logits.",))
    outputs, plain = LastLayerInferer(posterior, every_kind())(image, network), network(image)
    assert not network.decoders["binary"].logits._forward_pre_hooks
    assert not torch.equal(outputs["binary"], plain["binary"])
    for name in ("mask", "box", "multiclass"):  # the last has no precision: its weights are taken as known
        assert torch.equal(outputs[name], plain[name]), name
    with pytest.raises(ValueError, match="the network has others"):
        LastLayerInferer(replace(posterior, fingerprint="0"), every_kind())(image, network)
