import math

import pytest
import torch

from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, ReconstructionTask, SegmentationTask
from mtmedformer_monai.tasks.sample_average import (
    average_sigmoid,
    average_softmax,
    mean_of_samples,
    std_of_samples,
)
from tests.networks.small import every_kind

LOG2 = math.log(2.0)


def raw_outputs(task, seed=0):
    """Returns raw outputs of two images."""
    rng = torch.Generator().manual_seed(seed)
    if isinstance(task, SegmentationTask):
        return 5 * torch.randn(2, 2, 6, 5, generator=rng)
    if isinstance(task, DetectionTask):
        return torch.cat([30 * torch.rand(2, 9, 7, generator=rng), 5 * torch.randn(2, 9, 2, generator=rng)], dim=2)
    if isinstance(task, ReconstructionTask):
        return torch.randn(2, 1, 6, 5, generator=rng)
    return 5 * torch.randn(2, task.num_logits, generator=rng)


@pytest.mark.parametrize("num_samples", [2, 3, 7])
@pytest.mark.parametrize("task", [*every_kind(), ReconstructionTask()], ids=lambda task: task.name)
def test_equal_samples_are_their_mean_with_zero_variance(task, num_samples):
    output = raw_outputs(task)
    joint, measures = task.combine_samples(output.expand(num_samples, *output.shape))
    assert torch.equal(task.activate(joint), task.activate(output))
    assert joint.shape == output.shape
    for name, value in measures.items():
        if name == "point":
            assert torch.equal(value, output[..., 4:7])
        elif name != "entropy":
            assert torch.equal(value, torch.zeros_like(value)), name


@pytest.mark.parametrize("task", every_kind(), ids=lambda task: task.name)
def test_probabilities_are_averaged(task):
    samples = torch.stack([raw_outputs(task, seed) for seed in range(5)])
    joint, measures = task.combine_samples(samples)
    probs = task.activate(samples)
    if isinstance(task, DetectionTask):
        assert torch.allclose(task.activate(joint)[..., 7:], probs[..., 7:].mean(dim=0), atol=1e-6)
        assert torch.allclose(measures["std"], probs[..., 7:].std(dim=0), atol=1e-6)
    else:
        assert torch.allclose(task.activate(joint), probs.mean(dim=0), atol=1e-6)
        assert torch.allclose(measures["std"], probs.std(dim=0), atol=1e-6)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=["low first", "high first"])
def test_the_mean_of_opposite_certainties_is_a_half_in_any_order(order):
    logits = torch.tensor([[-100.0], [100.0]])[order]
    assert average_sigmoid(logits).sigmoid().item() == pytest.approx(0.5, abs=1e-4)
    classes = torch.cat([logits, -logits], dim=1)
    assert average_softmax(classes).softmax(dim=-1).tolist() == pytest.approx([0.5, 0.5], abs=1e-4)


def test_large_logits_are_averaged_precisely():
    logits = torch.tensor([[-60.0], [60.0]])
    assert average_sigmoid(logits).item() == pytest.approx(0.0, abs=1e-4)  # the mean of 0 and 1
    assert average_sigmoid(torch.tensor([[-50.0], [-50.0 + LOG2]])).item() == pytest.approx(-50.0 + math.log(1.5))
    far = average_softmax(torch.tensor([[[200.0, 0.0]], [[0.0, 200.0]]]))
    assert torch.isfinite(far).all()


def test_entropy_splits_into_noise_and_disagreement():
    task = ClassificationTask("finding", ["no", "yes"], "binary")
    opposed = torch.tensor([[[40.0]], [[-40.0]]])  # each sample is confident
    unsure = torch.zeros(2, 1, 1)  # both samples are uncertain
    for samples, disagreement in ((opposed, LOG2), (unsure, 0.0)):
        measures = task.combine_samples(samples)[1]
        assert measures["entropy"].item() == pytest.approx(LOG2)
        assert measures["mutual_information"].item() == pytest.approx(disagreement, abs=1e-6)


def test_disagreement_of_masks_by_hand():
    task = SegmentationTask("lung", ["lung"])
    one = torch.tensor([[[[9.0, 9.0, -9.0]]]])
    other = torch.tensor([[[[9.0, -8.0, -9.0]]]])  # the mean of the middle pixel is just above a half
    measures = task.combine_samples(torch.stack([one, other]))[1]
    assert measures["disagreement"].item() == pytest.approx((0 + 1 - 2 * 1 / 3) / 2)
    nothing = task.combine_samples(torch.full((2, 1, 1, 2, 2), -9.0))[1]
    assert nothing["disagreement"].item() == 0.0


def test_a_sample_without_detection_does_not_influence_the_box():
    task = DetectionTask("box", ["mass"])
    sees = torch.tensor([[[0.0, 0.0, 8.0, 8.0, 4.0, 4.0, 8.0, 10.0]]])
    blind = torch.tensor([[[0.0, 0.0, 99.0, 99.0, 4.0, 4.0, 8.0, -30.0]]])
    joint, measures = task.combine_samples(torch.stack([sees, blind]))
    assert joint[0, 0, :4].tolist() == pytest.approx([0, 0, 8, 8], abs=1e-3)
    assert measures["box_std"].max().item() < 0.01
    agreed = torch.stack([sees, sees + torch.tensor([2.0, 0, 2.0, 0, 0, 0, 0, 0])])
    joint, measures = task.combine_samples(agreed)
    assert joint[0, 0, :7].tolist() == pytest.approx([1, 0, 9, 8, 4, 4, 8])
    assert measures["box_std"][0, 0].tolist() == pytest.approx([1, 0, 1, 0])


def test_means_over_draws_by_hand():
    values = torch.tensor([[1.0], [2.0], [6.0]])
    assert mean_of_samples(values).item() == 3.0
    assert std_of_samples(values).item() == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
