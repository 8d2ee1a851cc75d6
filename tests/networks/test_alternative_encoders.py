import builtins
import sys

import pytest
import torch

from mtmedformer_monai.networks import (
    HierarchicalTransformer,
    MTMedFormer,
    ResNetEncoder,
    SwinEncoder,
    TimmEncoder,
)
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask
from tests.networks.small import SMALL, without_gradient

ENCODERS = {
    "transformer": lambda: HierarchicalTransformer(SMALL),
    "swin": lambda: SwinEncoder(12, heads=(1, 2, 4, 8)),
    "resnet": lambda: ResNetEncoder("resnet10"),
}
TASKS = [
    SegmentationTask("mask", ["lung"]),
    DetectionTask("box", ["mass"]),
    ClassificationTask("label", ["no", "yes"], "binary"),
]


@pytest.fixture(params=ENCODERS, scope="module")
def encoder(request):
    torch.manual_seed(0)
    return ENCODERS[request.param]().eval()


@torch.no_grad()
def test_maps_are_what_channels_and_strides_say(encoder):
    maps = encoder(torch.rand(2, 1, 64, 96))
    said = [
        (2, width, 64 // stride, 96 // stride) for width, stride in zip(encoder.channels, encoder.strides, strict=True)
    ]
    assert [tuple(each.shape) for each in maps] == said


@torch.no_grad()
def test_all_encoders_support_any_image_size(encoder):
    outputs = MTMedFormer(encoder, TASKS, 16).eval()(torch.rand(1, 1, 100, 70))
    assert outputs["mask"].shape == (1, 1, 100, 70)
    assert outputs["box"].shape == (1, 16 * 12 + 8 * 6 + 4 * 3, 8)
    assert outputs["label"].shape == (1, 1)


def test_every_parameter_gets_a_gradient_and_no_norm_keeps_statistics(encoder):
    network = MTMedFormer(encoder, TASKS, 16)
    sum(output.square().mean() for output in network(torch.rand(1, 1, 64, 64)).values()).backward()
    assert without_gradient(network) == []
    assert not any("running" in name for name, _ in network.named_buffers())


def test_missing_timm_is_an_error_with_instructions(monkeypatch):
    plain = builtins.__import__

    def without_timm(name, *args, **kwargs):
        if name == "timm":
            raise ImportError("no timm")
        return plain(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_timm)
    with pytest.raises(ImportError, match=r"pip install 'mtmedformer-monai\[timm\]'"):
        TimmEncoder("pvt_v2_b0")
