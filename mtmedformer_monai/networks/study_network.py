"""A network for all views of a study, with outputs for each image, each breast and the whole study."""

# B batch of studies, V views, G groups of views, N tokens, D width, L logits

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mtmedformer_monai.keys import STUDY_VIEWS
from mtmedformer_monai.layers.group_declaration import Declaration
from mtmedformer_monai.layers.permutation_groups import FIXED, Axis
from mtmedformer_monai.tasks.classification import AttentionPooling
from mtmedformer_monai.tasks.study_task import StudyTask

from .mtmedformer import MTMedFormer, _plain


class StudyNetwork(nn.Module):
    """Applies the image network to every view and fuses views by one attention query per study task.

    Args:
        network: network for single images.
        study_tasks: tasks for breasts and studies; each is initialized from the decoder of its source task.
        weights: file with weights of the image network; '' to train from scratch.

    Raises:
        ValueError: if the source of a study task is not a classification task of the network.
        FileNotFoundError: if the file of weights does not exist.
    """

    def __init__(self, network: MTMedFormer, study_tasks: Sequence[StudyTask], weights: str | Path = "") -> None:
        super().__init__()
        if weights:
            network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self.image_network = network
        self.fusions = nn.ModuleDict()
        for study_task in study_tasks:
            decoder = dict(network.decoders.items()).get(study_task.source)
            if not isinstance(decoder, AttentionPooling):
                raise ValueError(
                    f"study task {study_task.task.name!r} expects source to be a classification out of "
                    f"{sorted(network.decoders)}, got {study_task.source!r}."
                )
            self.fusions[study_task.task.name] = ViewFusion(decoder, study_task.source, study_task.num_groups)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Runs all tasks on all views in one forward pass.

        Args:
            image: float (B, V, H, W) in [0, 1], views in the order of `keys.STUDY_VIEWS`; missing views are NaN.

        Returns:
            A dict keyed by task name with raw outputs: (B * V, ...) for image tasks, meaningless for missing views, and
            (B * G, L) for study tasks.
        """
        views = _plain(image)
        absent = views[:, :, 0, 0].isnan()
        batch, count, height, width = views.shape
        single = views.nan_to_num(nan=0.0).reshape(batch * count, 1, height, width)
        features, pyramids = self.image_network.encode(single)
        outputs = self.image_network.decode(features, pyramids, (height, width))
        for name, fusion in self.fusions.items():
            outputs[name] = fusion(features, pyramids, absent)
        return outputs

    def permutable(self, declare: Declaration) -> None:
        """Declares the image network and the fusion modules."""
        features, pyramids = declare.child("image_network")
        for name in self.fusions:
            declare.child(f"fusions.{name}", features, pyramids)


class ViewFusion(nn.Module):
    """Attention pooling over the tokens of several views.

    Args:
        decoder: decoder of single images, which is copied to initialize the fusion.
        source: name of the decoder's task.
        num_groups: number of groups G, of V / G views each.
    """

    def __init__(self, decoder: AttentionPooling, source: str, num_groups: int) -> None:
        super().__init__()
        self.source = source
        self.num_groups = num_groups
        self.pooling = copy.deepcopy(decoder)
        self.view = nn.Parameter(torch.zeros(len(STUDY_VIEWS), decoder.norm.weight.shape[0]))

    def forward(self, features: list[Tensor], pyramids: dict[str, list[Tensor]], absent: Tensor) -> Tensor:
        """Returns the logits of the groups, (B * G, L).

        Args:
            features: feature maps of B * V images.
            pyramids: pyramids of the image network.
            absent: bool (B, V), true for missing views.
        """
        pyramid = pyramids[self.source] if self.source in pyramids else pyramids["shared"]
        tokens = self.pooling.tokenize(features, pyramid)
        batch, count = absent.shape
        tokens = tokens.reshape(batch, count, tokens.shape[1], tokens.shape[2]) + self.view[None, :, None]
        hidden = absent[:, :, None].expand(-1, -1, tokens.shape[2])
        groups = batch * self.num_groups
        pooled = self.pooling.pool(tokens.reshape(groups, -1, tokens.shape[3]), hidden.reshape(groups, -1))
        return self.pooling.classify(pooled)

    def permutable(self, declare: Declaration, features: list[Axis], pyramids: dict[str, list[Axis]]) -> None:
        """Declares the pooling and the view embeddings, which are added to its tokens."""
        pyramid = pyramids[self.source if self.source in pyramids else "shared"]
        tokens = declare.child("pooling", features, pyramid)
        declare.tensor("view", FIXED, tokens)
