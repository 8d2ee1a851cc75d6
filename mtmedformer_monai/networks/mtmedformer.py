"""The multi-task network: a shared encoder, a shared feature pyramid and one decoder per task."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.jit import is_scripting  # type: ignore[attr-defined]  # (a comment inside a script breaks it)

from mtmedformer_monai.layers.group_declaration import Declaration
from mtmedformer_monai.layers.permutation_groups import Axis
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.tasks.segmentation import SegmentationTask

from .detail_path import WIDTHS, DetailDecoder, DetailStem
from .feature_pyramid import FeaturePyramid

SHARED, DETAIL = "shared", "detail"
"""Names of the pyramid shared by all tasks, and of the fine maps."""


class MTMedFormer(nn.Module):
    """Shared encoder with one decoder per task (based on Nath et al., Med. Biol. Eng. Comput. 2025).

    Args:
        encoder: module with `channels` and `strides` (finest first) that maps (B, 1, H, W) to a list of feature maps.
        tasks: tasks to predict; their names become the keys of the output.
        pyramid_width: width D of the feature pyramid.
        shared_pyramid: whether all tasks share one pyramid or each task has its own. A pyramid has only the levels that
            its tasks use.
        detail: whether segmentation also uses maps at strides 1 and 2 (`DetailStem`), for sharper outlines and small
            structures; such weights do not fit a network without. An encoder with `after_stem` gets the map at
            stride 2 instead of the image, with `detail` or without.

    Raises:
        ValueError: if there are no tasks, two tasks have the same name, one is named 'shared' or 'detail', or a
            segmentation with `detail` has a `decoder_depth` other than 1.

    Example:
        >>> from mtmedformer_monai.networks.hierarchical_transformer import HierarchicalTransformer
        >>> from mtmedformer_monai.tasks.segmentation import SegmentationTask
        >>> network = MTMedFormer(HierarchicalTransformer("tiny"), [SegmentationTask("lung", ["lung"])])
        >>> network(torch.zeros(2, 1, 100, 70))["lung"].shape
        torch.Size([2, 1, 100, 70])
    """

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Sequence[Task],
        pyramid_width: int = 64,
        shared_pyramid: bool = True,
        detail: bool = False,
    ) -> None:
        super().__init__()
        names = [task.name for task in tasks]
        if not names or len(set(names)) != len(names) or {SHARED, DETAIL} & set(names):
            raise ValueError(
                f"tasks expects one or more tasks with different names, none {SHARED!r} or {DETAIL!r}, got {names}."
            )
        channels: Sequence[int] = encoder.channels  # type: ignore[assignment]
        strides: Sequence[int] = encoder.strides  # type: ignore[assignment]
        self.stride = int(max(strides))
        self.encoder = encoder
        levels = {task.name: set(task.pyramid_levels) for task in tasks}
        if shared_pyramid:
            levels = {SHARED: set().union(*levels.values())}
        self.pyramids = nn.ModuleDict(
            {name: FeaturePyramid(channels, pyramid_width, chosen) for name, chosen in levels.items()}
        )
        self.decoders = nn.ModuleDict(
            {task.name: task.make_decoder(channels, strides, pyramid_width) for task in tasks}
        )
        detailed = [task for task in tasks if detail and isinstance(task, SegmentationTask)]
        self.after_stem = bool(getattr(encoder, "after_stem", False))
        self.stem = DetailStem() if detailed or self.after_stem else None
        self.num_fine = 0 if self.stem is None else len(WIDTHS)
        for task in detailed:
            if task.decoder_depth != 1:
                raise ValueError(
                    f"task {task.name!r} expects decoder_depth 1 in a network with detail, got {task.decoder_depth}; "
                    "omit it, or set detail to false."
                )
            self.decoders[task.name] = DetailDecoder(pyramid_width, len(task.structures))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Runs all tasks in one forward pass.

        Args:
            image: float (B, 1, H, W) in [0, 1] of any size; it is padded internally to a multiple of the coarsest
                stride.

        Returns:
            A dict keyed by task name with raw outputs: segmentation logits (B, C, H, W), detection rows (B, A, 7 + K),
            and class logits (B, L).
        """
        features, pyramids = self.encode(image)
        return self.decode(features, pyramids, (image.shape[2], image.shape[3]))

    def encode(self, image: Tensor) -> tuple[list[Tensor], dict[str, list[Tensor]]]:
        """Computes the inputs of the decoders.

        Returns:
            Feature maps of the encoder, finest first, and {pyramid: its maps}, of the padded image; with `detail`,
            the fine maps as another pyramid.
        """
        entering = self.enter(image)
        features: list[Tensor] = self.encoder(entering[-1])
        return features, self.spread(features, entering)

    def enter(self, image: Tensor) -> list[Tensor]:
        """Computes the fine maps, if any; the last entry is the input of the encoder."""
        prepared = self.prepare(image)
        entering: list[Tensor] = []
        if self.stem is not None:
            entering = self.stem(prepared)
        if not self.after_stem:
            entering.append(prepared)
        return entering

    def prepare(self, image: Tensor) -> Tensor:
        """Pads an image (B, 1, H, W) in [0, 1] and scales it to [-2, 2]."""
        return (self._pad(_plain(image)) - 0.5) * 4.0

    def spread(self, features: list[Tensor], entering: list[Tensor]) -> dict[str, list[Tensor]]:
        """Computes {pyramid: its maps} from the feature maps of the encoder and what `enter` returned."""
        pyramids: dict[str, list[Tensor]] = {}
        for name, pyramid in self.pyramids.items():
            pyramids[name] = pyramid(features)
        if self.num_fine > 0:
            pyramids["detail"] = entering[: self.num_fine]
        return pyramids

    def decode(
        self, features: list[Tensor], pyramids: dict[str, list[Tensor]], size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Computes the outputs of all tasks, as `forward` returns them.

        Args:
            features: feature maps from `encode`.
            pyramids: pyramids from `encode`.
            size: (H, W) of the image.
        """
        height, width = size
        padded = (self._padded(height), self._padded(width))
        outputs: dict[str, Tensor] = {}
        fine: list[Tensor] = pyramids.get("detail", [])
        for name, decoder in self.decoders.items():
            pyramid = pyramids[name] if name in pyramids else pyramids["shared"]
            output = decoder(features, pyramid + fine, padded)
            outputs[name] = output[:, :, :height, :width] if output.dim() == 4 else output
        return outputs

    def keep_tasks(self, names: Sequence[str]) -> None:
        """Removes the decoders of all other tasks, and pyramids of their own; other outputs do not change.

        Raises:
            KeyError: the network has no such task.
        """
        missing = [name for name in names if name not in self.decoders]
        if missing:
            raise KeyError(f"names expects tasks of the network, {sorted(self.decoders)}, got {missing}.")
        for name in set(self.decoders) - set(names):
            del self.decoders[name]
            if name in self.pyramids:
                del self.pyramids[name]

    def encoder_state(self) -> dict[str, Tensor]:
        """Returns parameters and buffers of the encoder, with those of the stem that it follows, by name."""
        parts = ("encoder.", "stem.") if self.after_stem else ("encoder.",)
        return {name: value for name, value in self.state_dict(keep_vars=True).items() if name.startswith(parts)}

    def permutable(self, declare: Declaration) -> tuple[list[Axis], dict[str, list[Axis]]]:
        """Declares encoder, pyramids and decoders.

        Returns:
            Channels of the maps that `encode` returns: those of the encoder and those of each pyramid.
        """
        fine: list[Axis] = [] if self.stem is None else declare.child("stem")
        features: list[Axis] = declare.child("encoder", *fine[-1:]) if self.after_stem else declare.child("encoder")
        pyramids = {name: declare.child(f"pyramids.{name}", features) for name in self.pyramids}
        for name in self.decoders:
            declare.child(f"decoders.{name}", features, pyramids[name if name in pyramids else SHARED] + fine)
        return features, pyramids

    def _padded(self, length: int) -> int:
        """Rounds a length up to a multiple of the stride."""
        return (length + self.stride - 1) // self.stride * self.stride

    def _pad(self, image: Tensor) -> Tensor:
        """Pads with background on the right and at the bottom to a multiple of the stride."""
        height, width = image.shape[2], image.shape[3]
        return F.pad(image, (0, self._padded(width) - width, 0, self._padded(height) - height))


class SelectOutput(nn.Module):
    """Wraps a network to return selected dense outputs, concatenated along the channels, as one tensor.

    It is meant for tools that support only tensors, such as `monai.bundle verify_net_in_out`.

    Args:
        network: network that returns a dict of tensors.
        names: outputs to concatenate, each (B, C, H, W), or one output of any shape.
        background: whether to prepend a channel of logits 0, so that the argmax over channels is the label.
    """

    def __init__(self, network: nn.Module, names: Sequence[str], background: bool = False) -> None:
        super().__init__()
        self.network = network
        self.names = list(names)
        self.background = background

    def forward(self, image: Tensor) -> Tensor:
        """Returns the selected outputs for an image (B, 1, H, W)."""
        outputs: dict[str, Tensor] = self.network(image)
        chosen = torch.cat([outputs[name] for name in self.names], dim=1)
        if self.background:
            return torch.cat([torch.zeros_like(chosen[:, :1]), chosen], dim=1)
        return chosen

    def permutable(self, declare: Declaration) -> None:
        """Declares the wrapped network."""
        declare.child("network")


def _plain(image: Tensor) -> Tensor:
    """Converts a MetaTensor to a tensor, because metadata slows down all operations and breaks some."""
    if is_scripting() or torch.compiler.is_compiling():
        return image
    return image.as_subclass(Tensor)
