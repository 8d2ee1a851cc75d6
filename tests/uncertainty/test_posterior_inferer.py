import logging
from dataclasses import replace

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from torch import nn

from mtmedformer_monai.engines import ActivateTasksd, AutocastInferer, MultiTaskMetric, PrepareMultiTaskBatch
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, ReconstructionTask, SegmentationTask
from mtmedformer_monai.uncertainty.posterior_file import WeightPosterior, fingerprint_of, save_posterior
from mtmedformer_monai.uncertainty.posterior_inferer import PosteriorInferer
from tests.engines.tiny_training import TinyNetwork, make_items, make_tasks
from tests.networks.small import small_network

CHEST = [
    SegmentationTask("lung", ["lung"]),
    SegmentationTask("opacity", ["opacity"], batch_dice=True),
    DetectionTask("opacity_box", ["opacity"]),
    ClassificationTask("finding", ["normal", "pneumonia"], "binary"),
    ClassificationTask("pneumonia_type", ["bacterial", "viral"], "binary"),
]


def posterior_of(network, precision=1e4, prior=1.0, known=lambda name: True):
    weights = dict(network.named_parameters())
    likelihood = {name: torch.full_like(value, precision if known(name) else 0.0) for name, value in weights.items()}
    return WeightPosterior(
        likelihood,
        {name: torch.tensor(prior) for name in likelihood},
        1.0,
        fingerprint=fingerprint_of(weights, likelihood),
    )


class LinearNetwork(nn.Module):
    """Maps x to w x + b as the output of a task."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x):
        return {"line": self.layer(x)}


def test_a_linear_network_has_the_variance_of_its_weights():
    network = LinearNetwork()
    precision = {"layer.weight": torch.tensor([[1.0, 4.0, 0.5]]), "layer.bias": torch.tensor([2.0])}
    posterior = WeightPosterior(precision, {name: torch.tensor(1e-9) for name in precision}, temperature=0.3)
    x = torch.tensor([[1.0, 2.0, -1.0], [0.0, 0.0, 3.0]])
    task = ReconstructionTask("line")
    task.activate = lambda output: output
    outputs = PosteriorInferer(posterior, [task], num_samples=2000)(x, network)
    expected = 0.3 * (x**2 / precision["layer.weight"]).sum(dim=1, keepdim=True) + 0.3 / 2.0
    # the variance of 2000 draws is off by sqrt(2 / 2000) = 3 per cent, their mean by 2.2 per cent of a deviation
    assert torch.allclose(outputs["line.std"] ** 2, expected, rtol=0.12)
    assert ((outputs["line"] - network(x)["line"]).abs() / expected.sqrt()).max() < 0.08


@pytest.fixture(scope="module")
def chest():
    network = small_network(CHEST).eval()
    image = torch.rand(2, 1, 64, 48, generator=torch.Generator().manual_seed(0))
    return network, image, posterior_of(network)


def test_shapes_and_keys_of_all_chest_tasks(chest):
    network, image, posterior = chest
    outputs = PosteriorInferer(posterior, CHEST, num_samples=3)(image, network)
    plain = network(image)
    assert {name: outputs[name].shape for name in plain} == {name: value.shape for name, value in plain.items()}
    points = plain["opacity_box"].shape[1]
    shapes = {name: tuple(value.shape) for name, value in outputs.items() if name not in plain}
    assert shapes == {
        **{f"{mask}.{name}": (2, 1, 64, 48) for mask in ("lung", "opacity") for name in MAPS},
        **{f"{mask}.disagreement": (2, 1) for mask in ("lung", "opacity")},
        **{f"opacity_box.{name}": (2, points, 1) for name in MAPS},
        "opacity_box.box_std": (2, points, 4),
        "opacity_box.point": (2, points, 3),
        **{f"{task}.{name}": (2,) for task in ("finding", "pneumonia_type") for name in MAPS[:2]},
        **{f"{task}.std": (2, 2) for task in ("finding", "pneumonia_type")},
    }
    assert all(bool(torch.isfinite(value).all()) and bool((value >= 0).all()) for value in map(outputs.get, shapes))
    assert all(bool((outputs[f"{task.name}.std"] > 0).all()) for task in CHEST)


MAPS = ("entropy", "mutual_information", "std")


def test_without_temperature_it_is_the_plain_network(chest):
    network, image, posterior = chest
    outputs = PosteriorInferer(posterior, CHEST, num_samples=3, temperature=0.0)(image, network)
    plain = network(image)
    for task in CHEST:
        assert torch.equal(outputs[task.name], plain[task.name]), task.name
        assert torch.equal(outputs[f"{task.name}.std"], torch.zeros_like(outputs[f"{task.name}.std"])), task.name


def test_at_another_temperature_it_equals_one_made_for_it(chest):
    network, image, posterior = chest
    inferer, made = PosteriorInferer(posterior, CHEST, 2), PosteriorInferer(posterior, CHEST, 2, temperature=0.25)
    found, expected = inferer.at(0.25)(image, network), made(image, network)
    assert all(torch.equal(value, expected[name]) for name, value in found.items())
    own = inferer(image, network)
    assert not torch.equal(own["lung.std"], expected["lung.std"])  # it keeps its own temperature


def test_the_network_stays_and_the_seed_decides(chest):
    network, image, posterior = chest
    before = {name: value.clone() for name, value in network.state_dict().items()}
    one, again, other = (PosteriorInferer(posterior, CHEST, 2, seed=seed)(image, network) for seed in (0, 0, 1))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["lung"], other["lung"])


def test_a_batch_equals_its_images(chest):
    network, image, posterior = chest
    inferer = PosteriorInferer(posterior, CHEST, 2)
    together, apart = inferer(image, network), [inferer(each, network) for each in image.split(1)]
    for name, value in together.items():
        assert torch.allclose(value, torch.cat([each[name] for each in apart]), atol=2e-4), name  # float32, 60 layers


def test_untrained_heads_are_reported(chest, caplog):
    network, image, _ = chest
    posterior = posterior_of(network, prior=1e4, known=lambda name: not name.startswith("decoders.finding."))
    inferer = PosteriorInferer(posterior, CHEST, 2)
    with caplog.at_level(logging.WARNING):
        inferer(image, network)
        inferer(image, network)
    assert [record.getMessage() for record in caplog.records] == [
        "No data have trained the tasks finding: their posterior equals the prior."
    ]
    likelihood = inferer.trained_share()
    assert (likelihood["finding"], likelihood["pneumonia_type"], likelihood["shared"]) == (0.0, 1.0, 1.0)


def test_in_the_stock_evaluator_from_a_file(tmp_path):
    torch.manual_seed(0)
    network, tasks = TinyNetwork(), make_tasks()
    save_posterior(posterior_of(network), tmp_path / "posterior.pt")
    metric, kept = MultiTaskMetric(tasks), []
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(make_items()), batch_size=4),
        network=network,
        inferer=PosteriorInferer(tmp_path / "posterior.pt", tasks, 2, inferer=AutocastInferer(enabled=False)),
        prepare_batch=PrepareMultiTaskBatch(tasks),
        key_val_metric={"mean_score": metric},
        postprocessing=lambda item: kept.append(item["pred"]) or ActivateTasksd(tasks)(item),
    )
    evaluator.run()
    assert 0.0 < evaluator.state.metrics["mean_score"] <= 1.0
    assert len(kept) == 8  # one image after the other: what is beside the tasks' outputs is decollated too
    assert kept[0]["lung.std"].shape == (1, 16, 16)
    assert 0.0 < float(kept[0]["finding.entropy"]) <= 0.694  # log 2
    assert set(evaluator.state.output[0]["pred"]) == {"lung", "finding"}


def test_a_posterior_of_another_network_is_refused(chest):
    network, image, posterior = chest
    with pytest.raises(ValueError, match="num_samples expects 2 or more, got 1"):
        PosteriorInferer(posterior, CHEST, 1)
    with pytest.raises(ValueError, match="the network has others"):
        PosteriorInferer(replace(posterior, fingerprint="0"), CHEST)(image, network)
