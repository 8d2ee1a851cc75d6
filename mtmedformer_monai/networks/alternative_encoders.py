"""Alternative encoders: modules with `channels` and `strides` that return feature maps at strides 4, 8, 16 and 32."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets import ResNetFeatures
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor, nn

from mtmedformer_monai.layers.group_declaration import Declaration
from mtmedformer_monai.layers.permutation_groups import FIXED, Axis

from .resnet_groups import declare_resnet
from .swin_groups import declare_swin


class SwinEncoder(nn.Module):
    """MONAI's 2D Swin transformer (requires the extra `swin`). TorchScript supports tracing, but not scripting it.

    Args:
        embed_dim: width at stride 2; it doubles with each stage.
        depths: number of blocks per stage.
        heads: number of attention heads per stage.
        in_channels: number of image channels C.
        drop_path: stochastic depth rate of the last block.
    """

    def __init__(
        self,
        embed_dim: int = 24,
        depths: Sequence[int] = (2, 2, 2, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        in_channels: int = 1,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        self.channels = tuple(embed_dim * 2**stage for stage in range(1, 5))
        self.strides = (4, 8, 16, 32)
        self.swin = SwinTransformer(
            in_chans=in_channels,
            embed_dim=embed_dim,
            window_size=(7, 7),
            patch_size=(2, 2),
            depths=tuple(depths),
            num_heads=tuple(heads),
            drop_path_rate=drop_path,
            spatial_dims=2,
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Returns the feature maps, finest first, without the one at stride 2."""
        return list(self.swin(x))[1:]

    def permutable(self, declare: Declaration) -> list[Axis]:
        """Declares one stream per stage, the heads and the hidden units."""
        return declare_swin(declare.inside("swin"))


class ResNetEncoder(nn.Module):
    """MONAI's ResNet with group norm, a convolutional baseline.

    Args:
        name: 'resnet10' (4.9M parameters), 'resnet18' (11M), 'resnet34' (21M) or 'resnet50' (24M). ResNet-18 and
            ResNet-34, whose shortcuts are functions in MONAI, can only be traced by TorchScript.
        in_channels: number of image channels C.
    """

    def __init__(self, name: str = "resnet18", in_channels: int = 1) -> None:
        super().__init__()
        self.resnet = ResNetFeatures(name, pretrained=False, spatial_dims=2, in_channels=in_channels)
        _replace_batch_norm(self.resnet)
        expansion = 4 if name in {"resnet50", "resnet101", "resnet152"} else 1
        self.channels = tuple(expansion * width for width in (64, 128, 256, 512))
        self.strides = (4, 8, 16, 32)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Returns the feature maps, finest first."""
        return list(self.resnet(x))[1:]

    def permutable(self, declare: Declaration) -> list[Axis]:
        """Declares the channels, in blocks of the norms' groups and tied along each residual path."""
        return declare_resnet(declare.inside("resnet"))


class TimmEncoder(nn.Module):
    """Any hierarchical timm model (requires the extra `timm`), with ImageNet weights if available.

    Models with a fixed window size or position table (Swin, MaxViT) accept only their own image size. Batch norm
    statistics would differ between the clients of a federation, so use a model with layer norm there.

    Args:
        name: timm model name, such as 'pvt_v2_b1' or 'convnextv2_tiny'.
        pretrained: whether to load timm's weights (downloads them, or reads `checkpoint`).
        checkpoint: path of a local file of weights.
        in_channels: number of image channels C; timm adapts the first layer.

    Raises:
        ImportError: if timm is not installed.
        ValueError: if the model has no maps at strides 4, 8, 16 and 32.
    """

    def __init__(self, name: str, pretrained: bool = False, checkpoint: str = "", in_channels: int = 1) -> None:
        super().__init__()
        try:
            import timm
        except ImportError as error:
            raise ImportError(
                "TimmEncoder needs timm and torchvision; run: pip install 'mtmedformer-monai[timm]'"
            ) from error
        overlay = {"pretrained_cfg_overlay": {"file": checkpoint}} if checkpoint else {}
        self.model = timm.create_model(
            name, pretrained=pretrained or bool(checkpoint), in_chans=in_channels, features_only=True, **overlay
        )
        reductions = list(self.model.feature_info.reduction())
        if reductions[-4:] != [4, 8, 16, 32]:
            raise ValueError(
                f"TimmEncoder expects a model with maps at strides 4 to 32, got {name!r} with {reductions}."
            )
        self.channels = tuple(self.model.feature_info.channels()[-4:])
        self.strides = (4, 8, 16, 32)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Returns the feature maps, finest first."""
        return list(self.model(x))[-4:]

    def permutable(self, declare: Declaration) -> list[Axis]:
        """Declares the whole model, including its output maps, as fixed, because its structure is unknown.

        Clients that use such an encoder must start from common weights. Pyramids and decoders can still be aligned.
        """
        declare.fixed("model")
        return [FIXED] * len(self.channels)


def _replace_batch_norm(module: nn.Module, groups: int = 8) -> None:
    """Replaces batch norm, whose statistics would differ between clients, with group norm."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(groups, child.num_features))
        else:
            _replace_batch_norm(child, groups)
