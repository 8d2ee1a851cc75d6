"""A kind of task defined in this file alone is supported everywhere that the built-in kinds are."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image
from torch import nn

from mtmedformer_monai.engines.multi_task_metric import MultiTaskMetric
from mtmedformer_monai.engines.postprocessing.task_outputs import ActivateTasksd, DescribeTasksd, LabelMapd
from mtmedformer_monai.federated.client.class_union import restrict_tasks
from mtmedformer_monai.federated.client.ownership import Ownership, labels_of
from mtmedformer_monai.federated.client.task_tensors import tasks_reached
from mtmedformer_monai.keys import UNCERTAINTY, MetaKey
from mtmedformer_monai.losses.hybrid import HybridLoss
from mtmedformer_monai.tasks import ClassificationTask, Task
from mtmedformer_monai.tasks.partial import annotated_mean
from mtmedformer_monai.uncertainty.describe import DescribeUncertaintyd, KeepUncertaintyd
from mtmedformer_monai.uncertainty.linearized import LastLayerInferer
from mtmedformer_monai.uncertainty.posterior_file import WeightPosterior
from mtmedformer_monai.uncertainty.posterior_inferer import PosteriorInferer
from mtmedformer_monai.uncertainty.temperature import summed_nll
from mtmedformer_monai.visualization.overlay import Example, draw_examples
from tests.networks.small import small_network


class ThicknessDecoder(nn.Module):
    """Maps the finest pyramid level to one number per pixel."""

    def __init__(self, width):
        super().__init__()
        self.thickness = nn.Conv2d(width, 1, 1)

    def forward(self, features, pyramid, size):
        return nn.functional.interpolate(self.thickness(pyramid[0]), size=size)

    def permutable(self, declare, features, pyramid):
        pass


class MeanError:
    """Negative mean absolute error over annotated images."""

    def reset(self):
        self._errors = []

    def update(self, probs, target):
        self._errors += [
            float(-(one - other).abs().mean())
            for one, other in zip(probs, target, strict=True)
            if not other.isnan().any()
        ]

    def compute(self):
        return {"closeness": float(np.mean(self._errors)), "cases": len(self._errors)}


class ThicknessTask(Task):
    """Regression of breast thickness (1, H, W) in cm; regions thicker than 4 cm are drawn as masks."""

    primary_metric = "closeness"
    pyramid_levels = (0,)
    structures = ("thick",)

    def make_decoder(self, channels, strides, width):
        return ThicknessDecoder(width)

    def loss(self, output, target):
        annotated = self.is_annotated(target)
        error = (output - target.nan_to_num()).square().flatten(1).mean(dim=1)
        return annotated_mean(error, annotated)

    def activate(self, output):
        return output.float()

    def make_metric(self):
        metric = MeanError()
        metric.reset()
        return metric

    def encode_target(self, item, image_size):
        value = item.get("thickness_cm")
        return torch.full((1, *image_size), torch.nan if value is None else float(value))

    def describe(self, output):
        return {"mean_cm": float(output.mean())}

    def masks(self, output):
        return output > 4.0

    def negative_log_likelihood(self, output, target):
        return 0.5 * (output - target).square().double().nan_to_num().flatten(1).mean(dim=1).sum()

    def describe_uncertainty(self, finding, output, measures, to_source):
        return finding | {UNCERTAINTY: float(measures["std"].mean())}


TASKS = [ThicknessTask("thickness"), ClassificationTask("finding", ["no", "yes"], "binary")]


@pytest.fixture
def network():
    torch.manual_seed(0)
    return small_network(TASKS).eval()


def test_loss_and_metric(network):
    image = torch.rand(2, 1, 32, 32)
    targets = {"thickness": torch.stack([torch.full((1, 32, 32), 3.0), torch.full((1, 32, 32), torch.nan)])}
    targets["finding"] = torch.tensor([1.0, 0.0])
    outputs = network(image)
    loss = HybridLoss(TASKS, normalize=False)
    loss(outputs, targets).backward()
    assert loss.last["thickness"].item() == pytest.approx((outputs["thickness"][0] - 3.0).square().mean().item())
    assert network.get_submodule("decoders.thickness").thickness.weight.grad.abs().sum() > 0
    metric = MultiTaskMetric(TASKS)
    metric.reset()
    pred = {"thickness": torch.full((2, 1, 32, 32), 2.5), "finding": torch.tensor([[3.0], [-3.0]])}
    engine = SimpleNamespace(state=SimpleNamespace(output={"pred": pred, "label": targets}, metrics={}))
    metric.update(engine)
    metric.compute(engine, "mean_score")
    assert (engine.state.metrics["thickness_closeness"], engine.state.metrics["thickness_cases"]) == (-0.5, 1)
    output, target = torch.full((2, 1, 4, 4), 5.0), torch.full((2, 1, 4, 4), 3.0)
    assert summed_nll(TASKS[:1], {"thickness": output}, {"thickness": target}).item() == 4.0


def test_findings_label_map_and_picture(tmp_path):
    values = torch.full((1, 6, 4), 3.0)
    values[0, 2:4] = 5.0
    item = {"pred": {"thickness": values, "finding": torch.zeros(1)}}
    for step in (ActivateTasksd(TASKS), DescribeTasksd(TASKS), LabelMapd(TASKS)):
        item = step(item)
    assert item["result"]["thickness"] == {"mean_cm": pytest.approx(11 / 3)}
    assert item["pred"].T.tolist() == [[0] * 4] * 2 + [[1] * 4] * 2 + [[0] * 4] * 2
    pictures = []
    for probs in (values, torch.zeros(1, 6, 4)):
        example = Example(torch.zeros(6, 4), {"thickness": torch.full((1, 6, 4), torch.nan)}, {"thickness": probs})
        draw_examples([example], TASKS, tmp_path / "sheet.png")
        pictures.append(np.asarray(Image.open(tmp_path / "sheet.png")).astype(int))
    assert np.abs(pictures[0] - pictures[1]).sum() > 0  # the band is drawn


def test_posterior_inference(network):
    weights = dict(network.named_parameters())
    posterior = WeightPosterior(
        {name: torch.full_like(value, 1e4) for name, value in weights.items()},
        {name: torch.tensor(1.0) for name in weights},
    )
    image = torch.rand(1, 1, 32, 32)
    outputs = PosteriorInferer(posterior, TASKS, num_samples=4)(image, network)
    assert outputs["thickness"].shape == outputs["thickness.std"].shape == (1, 1, 32, 32)
    assert outputs["thickness.std"].min() > 0
    last = LastLayerInferer(posterior, TASKS)(image, network)
    assert set(last) == {"thickness", "finding", "finding.logit_std"}
    item = KeepUncertaintyd()(
        {
            "image": MetaTensor(image[0], meta={MetaKey.TO_SOURCE: np.eye(3)}),
            "pred": {name: value[0] for name, value in outputs.items()},
        }
    )
    for step in (ActivateTasksd(TASKS), DescribeTasksd(TASKS), DescribeUncertaintyd(TASKS)):
        item = step(item)
    spread = outputs["thickness.std"].mean().item()
    assert json.loads(json.dumps(item["result"]))["thickness"][UNCERTAINTY] == pytest.approx(spread)


def test_ownership_in_a_federation(network):
    items = [{"image": "a", "thickness_cm": 3.0}, {"image": "b"}, {"image": "c", "labels": {"finding": "yes"}}]
    labels = labels_of(SimpleNamespace(data=items), TASKS)
    assert labels["thickness"].tolist() == [True, False, False]
    owned = Ownership(tasks_reached(network, torch.rand(1, 1, 32, 32), [task.name for task in TASKS]), labels)
    assert owned.num_samples["decoders.thickness.thickness.weight"] == 1
    assert owned.num_samples[next(name for name in owned.num_samples if name.startswith("encoder."))] == 2
    assert restrict_tasks(TASKS, {}) == TASKS
    with pytest.raises(ValueError, match="'thickness' can't be restricted to known classes"):
        restrict_tasks(TASKS, {"thickness": ["thin"]})
