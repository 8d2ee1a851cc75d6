"""Explanations of a planted network, whose evidence is known because its weights were set by hand."""

# The encoder passes on the mean brightness above 0.5 and below 0.5 of each cell; the pooled vector is their mean over
# cells, so that bright cells speak for the class "bright" and dark ones for "dark".

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mtmedformer_monai.explanations import METHODS, explain, peak_inside
from mtmedformer_monai.networks import MTMedFormer
from mtmedformer_monai.tasks import ClassificationTask, SegmentationTask
from tests.networks.small import small_network

BRIGHT, DARK = (slice(16, 32), slice(8, 24)), (slice(40, 56), slice(72, 88))
"""Rows and columns of a white and a black square on gray."""

LOCALIZING = sorted(set(METHODS) - {"attention", "hires_cam_pyramid"})
"""Methods that tell classes apart and do not look at the pyramid, which the planted network does not use."""


class PlantedEncoder(nn.Module):
    """Maps an image to its bright and its dark parts at strides 4 to 32, with a constant third channel."""

    channels = (8, 8, 8, 8)
    strides = (4, 8, 16, 32)

    def forward(self, x):
        parts = torch.cat([x.clamp(min=0), (-x).clamp(min=0), torch.ones_like(x), torch.zeros_like(x)], dim=1)
        parts = torch.cat([parts, torch.zeros_like(parts)], dim=1)
        return [F.avg_pool2d(parts, stride) for stride in self.strides]


class PlantedPooling(nn.Module):
    """Takes the place of the attention pooling's norms, which would mix channels."""

    def forward(self, x):
        return x


def planted(kind="binary"):
    classes = {"binary": ["dark", "bright"], "multiclass": ["gray", "dark", "bright"]}[kind]
    task = ClassificationTask("shade", classes, kind, dropout=0.0)
    torch.manual_seed(0)
    network = MTMedFormer(PlantedEncoder(), [task], pyramid_width=8)
    decoder = network.decoders["shade"]
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.zero_()
        for projection in decoder.projections:  # brightness minus darkness to channel 0
            projection.weight[0, 0], projection.weight[0, 1] = 1.0, -1.0
        width = decoder.output.in_features
        decoder.key_value.weight[width:] = torch.eye(width)
        decoder.output.weight.copy_(torch.eye(width))
        decoder.logits.weight[-1, 0] = 5.0
        if kind == "multiclass":
            decoder.logits.weight[1, 0] = -5.0
    decoder.norm, decoder.output_norm = PlantedPooling(), PlantedPooling()
    return network.eval(), task


def squares(rows=64, columns=96):
    image = torch.full((1, rows, columns), 0.5)
    image[0][BRIGHT], image[0][DARK] = 1.0, 0.0
    return image


def inside(place):
    outline = torch.zeros(64, 96, dtype=torch.bool)
    outline[place] = True
    return outline


def mass(found, place):
    """Fraction of a map within 16 pixels of a square, which is half a cell of the coarsest map."""
    rows, columns = (slice(max(0, p.start - 16), p.stop + 16) for p in place)
    return float(found[rows, columns].sum() / found.sum())


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
@pytest.mark.parametrize("method", LOCALIZING)
def test_each_class_is_explained_by_its_evidence(method, kind):
    network, task = planted(kind)
    bright = explain(network, squares(), task, len(task.classes) - 1, method)
    dark = explain(network, squares(), task, len(task.classes) - 2, method)
    if method.startswith("integrated"):  # marks what matters, for or against
        assert mass(bright, BRIGHT) + mass(bright, DARK) > 0.8
        return
    if method == "occlusion":  # the blurred image carries the other square's shade into its neighborhood
        assert peak_inside(bright, inside(BRIGHT))
        assert peak_inside(dark, inside(DARK))
        return
    assert mass(bright, BRIGHT) > 0.6
    if method not in ("grad_cam", "grad_cam_fine"):
        assert mass(dark, DARK) > 0.6


@pytest.mark.parametrize("method", METHODS)
def test_a_map_has_the_size_of_the_image_and_values_up_to_1(method):
    network = small_network()
    task = ClassificationTask("ordinal", ["a", "b", "c", "d"], "ordinal")
    image = torch.rand(1, 50, 70, generator=torch.Generator().manual_seed(0))
    found = explain(network, image, task, 2, method)
    assert found.shape == (50, 70)
    assert found.dtype == torch.float32
    assert found.min() >= 0
    assert found.max() == pytest.approx(1.0) or not found.any()
    torch.testing.assert_close(explain(network, image[None], task, 2, method), found)


def test_the_network_is_left_as_it_was():
    network = small_network().train()
    network.decoders["binary"].eval()
    task = ClassificationTask("binary", ["no", "yes"], "binary")
    explain(network, torch.rand(1, 64, 64), task, 1)
    assert network.training
    assert not network.decoders["binary"].training
    assert all(parameter.grad is None for parameter in network.parameters())


def test_it_works_where_gradients_are_disabled():
    task = ClassificationTask("binary", ["no", "yes"], "binary")
    with torch.no_grad():
        assert explain(small_network(), torch.rand(1, 64, 64), task, 1).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "saliency"}, "method expects one of"),
        ({"class_index": 2}, r"class_index expects 0\.\.1"),
        ({"image": torch.zeros(2, 1, 64, 64)}, r"image expects one image .* got shape \(2, 1, 64, 64\)"),
        ({"task": SegmentationTask("mask", ["lung", "heart"])}, "task expects a classification task"),
        ({"task": ClassificationTask("other", ["a", "b"])}, "got 'other'"),
        ({"network": nn.Identity()}, "network expects an MTMedFormer"),
    ],
    ids=["method", "class", "batch", "mask", "unknown task", "network"],
)
def test_wrong_arguments_are_named(change, message):
    task = ClassificationTask("binary", ["no", "yes"], "binary")
    arguments = {"network": small_network(), "image": torch.zeros(1, 64, 64), "task": task, "class_index": 1}
    with pytest.raises(ValueError, match=message):
        explain(**(arguments | change))
