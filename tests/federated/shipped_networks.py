"""Every network of the package, small if its size is configurable, with distinct weights for each unit."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from mtmedformer_monai.networks import (
    HierarchicalTransformer,
    MTMedFormer,
    PlainViT,
    ResNetEncoder,
    SelectOutput,
    StudyNetwork,
    SwinEncoder,
    TimmEncoder,
)
from mtmedformer_monai.tasks import ClassificationTask, ReconstructionTask, StudyTask, Task
from tests.networks.small import SMALL, every_kind, small_network


def all_tasks() -> list[Task]:
    return [*every_kind(), ReconstructionTask()]


def with_encoder(encoder: nn.Module) -> MTMedFormer:
    return MTMedFormer(encoder, all_tasks(), 16)


def study_network() -> StudyNetwork:
    breast = StudyTask(ClassificationTask("breast", ["a", "b", "c"]), "multiclass", "breast")
    return StudyNetwork(small_network(), [breast])


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "transformer": lambda: with_encoder(HierarchicalTransformer(SMALL)),
    "pyramids_apart": lambda: small_network(all_tasks(), shared_pyramid=False),
    "detail": lambda: small_network(all_tasks(), detail=True),
    "stem": lambda: small_network(all_tasks(), detail=True, after_stem=True),
    "plain_vit": lambda: with_encoder(PlainViT(32, depth=2, heads=2)),
    "swin": lambda: with_encoder(SwinEncoder(12, heads=(1, 2, 4, 8))),
    "resnet10": lambda: with_encoder(ResNetEncoder("resnet10")),
    "resnet18": lambda: with_encoder(ResNetEncoder("resnet18")),
    "resnet50": lambda: with_encoder(ResNetEncoder("resnet50")),
    "timm": lambda: with_encoder(TimmEncoder("four_maps")),
    "study": study_network,
    "select": lambda: SelectOutput(small_network(), ["mask"]),
}


class FourMaps(nn.Module):
    """Replaces a timm model, as timm is not installed for tests."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_info = SimpleNamespace(reduction=lambda: [4, 8, 16, 32], channels=lambda: [8, 16, 24, 32])
        self.layers = nn.ModuleList(
            nn.Conv2d(entering, leaving, 4, stride, 1)
            for entering, leaving, stride in [(1, 8, 4), (8, 16, 2), (16, 24, 2), (24, 32, 2)]
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps = []
        for layer in self.layers:
            x = torch.tanh(layer(x))
            maps.append(x)
        return maps


def make(name: str) -> nn.Module:
    timm = ModuleType("timm")
    timm.create_model = lambda *_, **__: FourMaps()  # type: ignore[attr-defined]
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "timm", timm)
        network = NETWORKS[name]().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))  # biases and norms have equal initial values
    return network
