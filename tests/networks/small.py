"""A network small enough for tests, with one task of each kind."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer, TransformerSize
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask, Task

SMALL = TransformerSize((16, 32, 40, 64), (1, 1, 1, 1))


def every_kind() -> list[Task]:
    return [
        SegmentationTask("mask", ["lung", "heart"]),
        DetectionTask("box", ["mass", "nodule"], max_boxes=3),
        ClassificationTask("binary", ["no", "yes"], "binary"),
        ClassificationTask("multiclass", ["a", "b", "c"]),
        ClassificationTask("multilabel", ["a", "b", "c"], "multilabel"),
        ClassificationTask("ordinal", ["a", "b", "c", "d"], "ordinal"),
    ]


STEMS = {"plain": (False, False), "detail": (True, False), "stem": (False, True), "detail_stem": (True, True)}
"""`detail` and `after_stem`: all combinations."""


def small_network(
    tasks: list[Task] | None = None,
    shared_pyramid: bool = True,
    drop_path: float = 0.0,
    detail: bool = False,
    after_stem: bool = False,
) -> MTMedFormer:
    torch.manual_seed(0)
    encoder = HierarchicalTransformer(SMALL, drop_path=drop_path, after_stem=after_stem)
    return MTMedFormer(encoder, tasks or every_kind(), 16, shared_pyramid, detail)


def largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert set(one) == set(other)
    return max((one[name].float() - other[name].float()).abs().max().item() for name in one)


def without_gradient(module: nn.Module) -> list[str]:
    return [name for name, parameter in module.named_parameters() if parameter.grad is None]
