"""Fuses the views of a study by a bundle's network of studies."""

# V views, G groups of views, K classes

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtmedformer_monai.data.study_dataset import group_studies
from mtmedformer_monai.keys import STUDY_ID, STUDY_VIEWS
from mtmedformer_monai.tasks.applicability import describe_tasks

from .bundle_model import STUDY_CONFIG, STUDY_WEIGHTS, BundleModel, load_model
from .describe_findings import describe_class
from .results import ClassResult, ImageResult

GROUP_NAMES = {"breast": ("R", "L"), "study": ("study",)}
"""{level of a study task: names of its groups, in the order of the network's output}."""


class StudyFusion:
    """Runs the network of studies on the views of one study.

    Args:
        model: model of the configurations `inference.json` and `study_inference.json`.
    """

    def __init__(self, model: BundleModel) -> None:
        self._model = model
        self._study_tasks = list(model.parser.get_parsed_content("study_tasks"))

    def __call__(self, images: Sequence[ImageResult], inputs: Sequence[Tensor]) -> dict[str, dict[str, ClassResult]]:
        """Classifies breasts and study.

        Args:
            images: results of the images of one study, with laterality and view.
            inputs: network input of each image, float32 (1, h, w).

        Returns:
            {study task: {'R', 'L' or 'study': classification}}, without breasts that have no view; empty if no image
            shows a screening view.

        Raises:
            FloatingPointError: an output is not finite.
        """
        places = fused_views(images)
        if not places:
            return {}
        missing = torch.full_like(inputs[0][0], torch.nan)
        stacked = torch.stack([inputs[places[view]][0] if view in places else missing for view in STUDY_VIEWS])
        with torch.no_grad():
            outputs = self._model.inferer(stacked[None].to(self._model.device), self._model.network)
        sides = {view[0] for view in places} | {"study"}
        return {task: self._of_groups(task, outputs, sides) for task in (each.task.name for each in self._study_tasks)}

    def _of_groups(self, name: str, outputs: Mapping[str, Any], present: set[str]) -> dict[str, ClassResult]:
        study_task = next(each for each in self._study_tasks if each.task.name == name)
        task = study_task.task
        probs = task.activate(torch.as_tensor(outputs[name]).as_subclass(Tensor).cpu())
        if not bool(torch.isfinite(probs).all()):
            raise FloatingPointError(f"the network's output of {name} has numbers that are not finite.")
        return {
            group: describe_class(task, describe_tasks([task], {name: row})[name])
            for group, row in zip(GROUP_NAMES[study_task.level], probs, strict=True)
            if group in present
        }


def fused_views(images: Sequence[ImageResult]) -> dict[str, int]:
    """Returns {view: index of the image that is used for it} of the images of one study; see `group_studies`."""
    views = [(image.laterality or "", image.view or "") for image in images]
    studies = group_studies([{STUDY_ID: "1"}] * len(images), views)
    return dict(studies[0]["views"]) if studies else {}


def load_study_fusion(bundle: Path, device: str = "") -> StudyFusion | None:
    """Returns the fusion of a bundle that has a network of studies with weights, or None."""
    if not (bundle / STUDY_CONFIG).is_file() or not (bundle / STUDY_WEIGHTS).is_file():
        return None
    return StudyFusion(load_model(bundle, device, configs=[bundle / STUDY_CONFIG]))
