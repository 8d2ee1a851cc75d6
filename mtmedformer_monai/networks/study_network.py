"""All views of a study in one network: results for each image, each breast, and the study."""

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
    """The image network on every view, and a query a study task that attends over the tokens of all views there are.

    Args:
        network: of single images.
        study_tasks: what to tell of breasts and studies; each starts as its source task's decoder.
        weights: file of the image network's weights to start from; empty starts from scratch.

    Raises:
        ValueError: a study task whose source is no classification of the network.
        FileNotFoundError: no such file of weights.
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
        """One pass for all views.

        Args:
            image: float (B, V, H, W) in [0, 1], views in the order of `keys.STUDY_VIEWS`; a view of NaN is not there.

        Returns:
            Task name to raw output: image tasks (B * V, ...), without meaning where a view is not there; study tasks
            (B * G, L).
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
        """Those of the image network, and those of each fusion."""
        features, pyramids = declare.child("image_network")
        for name in self.fusions:
            declare.child(f"fusions.{name}", features, pyramids)


class ViewFusion(nn.Module):
    """Attention pooling over the tokens of several views.

    Args:
        decoder: of one image; copied, so that the fusion of a study starts with what is known of images.
        source: its task's name.
        num_groups: G; each has V / G views.
    """

    def __init__(self, decoder: AttentionPooling, source: str, num_groups: int) -> None:
        super().__init__()
        self.source = source
        self.num_groups = num_groups
        self.pooling = copy.deepcopy(decoder)
        self.view = nn.Parameter(torch.zeros(len(STUDY_VIEWS), decoder.norm.weight.shape[0]))

    def forward(self, features: list[Tensor], pyramids: dict[str, list[Tensor]], absent: Tensor) -> Tensor:
        """Logits of the groups.

        Args:
            features: encoder maps of B * V images.
            pyramids: of the image network.
            absent: bool (B, V).

        Returns:
            (B * G, L).
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
        """Those of its pooling, to whose tokens the views are added."""
        pyramid = pyramids[self.source if self.source in pyramids else "shared"]
        tokens = declare.child("pooling", features, pyramid)
        declare.tensor("view", FIXED, tokens)
