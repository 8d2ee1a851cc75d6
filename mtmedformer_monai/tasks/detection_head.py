"""Anchor-free detection decoder that predicts a box and K class logits at each point of several strides.

Axes: B batch, A points of all strides, K classes, D pyramid width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtmedformer_monai.layers.conv_block import ConvNormAct
from mtmedformer_monai.layers.group_declaration import Declaration
from mtmedformer_monai.layers.permutation_groups import FIXED, Axis

PRIOR = 0.02
"""Initial score of every point, so that background points do not dominate the loss (RetinaNet, section 3.3)."""


def points_of(height: int, width: int, stride: int, like: Tensor) -> Tensor:
    """Returns the centers of a map's cells, rows (H * W, 3) of x, y, stride in pixels of the network input."""
    rows = (torch.arange(height, device=like.device, dtype=torch.float32) + 0.5) * stride
    columns = (torch.arange(width, device=like.device, dtype=torch.float32) + 0.5) * stride
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x.flatten(), y.flatten(), torch.full_like(x.flatten(), float(stride))], dim=1)


def boxes_of(points: Tensor, distances: Tensor) -> Tensor:
    """Returns xyxy boxes (B, A, 4) from points (A, 3) and left, top, right, bottom distances in strides (B, A, 4)."""
    reach = distances * points[:, 2:3]
    return torch.cat([points[:, :2] - reach[..., :2], points[:, :2] + reach[..., 2:]], dim=-1)


class DetectionDecoder(nn.Module):
    """Detection decoder with one tower shared by all strides, based on FCOS (Tian et al., ICCV 2019).

    Args:
        width: width D of the pyramid.
        num_classes: number of classes K.
        strides: strides of the encoder's maps, finest first.
        levels: indices of the maps to use.
        depth: number of separable convolutions of the tower.
    """

    def __init__(
        self, width: int, num_classes: int, strides: Sequence[int], levels: Sequence[int], depth: int = 2
    ) -> None:
        super().__init__()
        self.levels = list(levels)
        self.strides = [int(strides[level]) for level in levels]
        self.tower = nn.Sequential(*[ConvNormAct(width) for _ in range(depth)])
        self.scores = nn.Conv2d(width, num_classes, 1)
        self.distances = nn.Conv2d(width, 4, 1)
        nn.init.normal_(self.scores.weight, std=0.01)
        nn.init.constant_(self.scores.bias, -math.log((1.0 - PRIOR) / PRIOR))  # type: ignore[arg-type]
        nn.init.normal_(self.distances.weight, std=0.01)
        nn.init.constant_(self.distances.bias, 2.0)  # type: ignore[arg-type]

    def forward(self, features: list[Tensor], pyramid: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Returns rows (B, A, 7 + K): box, point and stride, class logits; see `BoxRow`."""
        rows: list[Tensor] = []
        for level, stride in zip(self.levels, self.strides):  # noqa: B905 (TorchScript does not support strict=)
            level_map = self.tower(pyramid[level])
            points = points_of(level_map.shape[2], level_map.shape[3], stride, level_map)
            distances = F.softplus(self.distances(level_map).float()).flatten(2).transpose(1, 2)
            logits = self.scores(level_map).float().flatten(2).transpose(1, 2)
            spread = points.unsqueeze(0).expand(logits.shape[0], -1, -1)
            rows.append(torch.cat([boxes_of(points, distances), spread, logits], dim=-1))
        return torch.cat(rows, dim=1)

    def permutable(self, declare: Declaration, features: list[Axis], pyramid: list[Axis]) -> None:
        """Declares the tower, whose input ties the channels of all levels; classes and box sides are fixed."""
        streams = [pyramid[level] for level in self.levels]
        declare.tie(*streams)
        stream = streams[0]
        for index in range(len(self.tower)):
            stream = declare.child(f"tower.{index}", stream)
        declare.layer("scores", stream, FIXED)
        declare.layer("distances", stream, FIXED)
