"""Predicts one image: runs a bundle's network on a file, and describes the outputs in the source's pixels."""

# C structures, h, w network pixels, H, W source pixels

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtmedformer_monai.keys import GUARD, IMAGE, PRED, PROBS, REFUSED, RESULT, UNCERTAINTY, MetaKey
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.tasks.classification import ClassificationTask
from mtmedformer_monai.transforms import RadiographError, restore_masks
from mtmedformer_monai.transforms.errors import RefusedImageError
from mtmedformer_monai.transforms.radiograph_meta import describe_meta

from .bundle_model import BundleModel
from .describe_findings import describe_boxes, describe_class, describe_masks
from .inputs import InputFile
from .output_paths import image_name
from .results import ImageMaps, ImageResult


class NetworkFailedError(RadiographError):
    """The network has no usable output for an image."""


@dataclass(frozen=True)
class Prediction:
    """The outcome of one image.

    Attributes:
        result: what is written; without files.
        maps: arrays in the source's pixels.
        network_input: float32 (1, h, w), from which views of a study are fused.
    """

    result: ImageResult
    maps: ImageMaps
    network_input: Tensor


def predict_image(model: BundleModel, file: InputFile, explain: bool = False) -> Prediction:
    """Loads one file, runs the network, and describes its outputs.

    Args:
        model: of the bundle.
        file: to load.
        explain: whether to map the evidence for the predicted class of each classification, which takes seconds.

    Raises:
        RadiographError: the file cannot be read, a rule or the guard refuses it, or the network fails on it.
    """
    item, picture = _load(model.preprocessing, file)
    image = item[IMAGE]
    network_input = torch.as_tensor(image).as_subclass(Tensor).clone()
    item[PRED] = _run(model, network_input)
    unusable = [task.name for task in model.tasks if not bool(torch.isfinite(item[PRED][task.name]).all())]
    if unusable:
        raise NetworkFailedError(
            file.source,
            f"the network's output of {', '.join(unusable)} has numbers that are not finite",
            "look at the image; if others fail, too, check the weights, and use --device cpu",
        )
    item = model.postprocessing(item)
    if item.get(REFUSED):
        measured = item[GUARD]
        reason = f"it is unlike the training images: distance {measured['distance']}, limit {measured['limit']}"
        raise RefusedImageError(
            file.source, f"{reason}, and the rule is guard='refuse'", "look at it, or use --guard flag", "guard"
        )
    meta = image.meta
    shape = tuple(int(length) for length in meta[MetaKey.SOURCE_SHAPE])
    to_source = np.asarray(meta[MetaKey.TO_SOURCE], dtype=np.float64)
    if picture is None:
        picture = restore_masks(network_input, to_source, (shape[0], shape[1]))[0]
    maps = _make_maps(model.tasks, item, picture, (shape[0], shape[1]), meta)
    result = _make_result(model.tasks, item, meta, file, maps)
    if explain:
        maps = replace(maps, explanations=_explain(model, network_input, result, to_source, (shape[0], shape[1])))
    return Prediction(result, maps, network_input)


def _load(preprocessing: Any, file: InputFile) -> tuple[dict[str, Any], Tensor | None]:
    """Applies the preprocessing; also returns the image (H, W) as loaded, or None if that is not in source pixels."""
    try:
        loaded = preprocessing({IMAGE: str(file.path)}, end=1)
        first = loaded[IMAGE]
        first.meta[MetaKey.FILENAME] = file.alias or first.meta[MetaKey.FILENAME]  # warnings name it
        is_source = bool(np.allclose(first.meta[MetaKey.TO_SOURCE], np.eye(3)))
        picture = torch.as_tensor(first).as_subclass(Tensor)[0].clone() if is_source else None
        return dict(preprocessing(loaded, start=1)), picture
    except RuntimeError as error:  # MONAI's Compose wraps the errors of transforms
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, (RadiographError, OSError, MemoryError)):
            cause = cause.__cause__
        raise cause or error from error


def _run(model: BundleModel, network_input: Tensor) -> dict[str, Tensor]:
    """Returns the raw outputs of one image, on the CPU and without the batch axis."""
    with torch.no_grad():
        outputs = model.inferer(network_input[None].to(model.device), model.network)
    return {name: torch.as_tensor(value)[0].detach().cpu() for name, value in outputs.items()}


def _scores(guard: Mapping[str, Any] | None) -> dict[str, float]:
    """Returns the guard's distance from the training images, and its limit."""
    return {f"guard_{name}": float(guard[name]) for name in ("distance", "limit")} if guard else {}


def _explain(
    model: BundleModel, network_input: Tensor, result: ImageResult, to_source: np.ndarray, shape: tuple[int, int]
) -> dict[str, dict[str, np.ndarray]]:
    """Returns {classification: {predicted class: map of the evidence (H, W)}}."""
    from mtmedformer_monai.explanations import explain

    maps: dict[str, dict[str, np.ndarray]] = {}
    for task in model.tasks:
        found = result.classes.get(task.name)
        if not isinstance(task, ClassificationTask) or found is None:
            continue
        for name in found.predicted:
            evidence = explain(model.network, network_input.to(model.device), task, list(task.classes).index(name))
            restored = restore_masks(evidence[None], to_source, shape)[0].clamp(0, 1).numpy()
            maps.setdefault(task.name, {})[name] = restored
    return maps


def _make_maps(
    tasks: Sequence[Task], item: Mapping[str, Any], picture: Tensor, shape: tuple[int, int], meta: Mapping[str, Any]
) -> ImageMaps:
    to_source = np.asarray(meta[MetaKey.TO_SOURCE], dtype=np.float64)
    masks, probabilities, uncertainty = {}, {}, {}
    for task in tasks:
        if not task.structures:
            continue
        probs = item[PROBS][task.name].as_subclass(Tensor).float()
        probabilities[task.name] = probs.numpy()
        masks[task.name] = task.masks(probs).numpy()
        measures = item.get(UNCERTAINTY, {}).get(task.name, {})
        maps = {
            name: restore_masks(values.as_subclass(Tensor).float(), to_source, shape).numpy()
            for name, values in measures.items()
            if values.ndim == 3
        }
        if maps:
            uncertainty[task.name] = maps
    return ImageMaps(picture.clamp_(0, 1).numpy(), masks, probabilities, uncertainty)


def _make_result(
    tasks: Sequence[Task], item: Mapping[str, Any], meta: Mapping[str, Any], file: InputFile, maps: ImageMaps
) -> ImageResult:
    found = item[RESULT]
    facts = describe_meta(meta)
    spacing = None if facts["spacing_mm"] is None else (facts["spacing_mm"][0], facts["spacing_mm"][1])
    by_name = {task.name: task for task in tasks}
    identity = facts["sop_instance_uid"] or file.alias or str(file.path)
    parts = (
        (facts["modality"], facts["laterality"], facts["view"])
        if facts["modality"]
        else (file.alias or file.path.stem,)
    )
    return ImageResult(
        source=file.source,
        name=image_name(parts, identity),
        size=(facts["size"][0], facts["size"][1]),
        spacing_mm=spacing,
        **{key: facts[key] for key in ("modality", "laterality", "view")},
        **{f"{level}_instance_uid": facts[f"{level}_instance_uid"] for level in ("sop", "series", "study")},
        flags=tuple(facts["flags"]),
        scores=_scores(item.get(GUARD)),
        segmentations={
            name: describe_masks(by_name[name], found[name], masks, spacing) for name, masks in maps.masks.items()
        },
        boxes={
            name: describe_boxes(by_name[name], value, spacing) for name, value in found.items() if "boxes" in value
        },
        classes={name: describe_class(by_name[name], value) for name, value in found.items() if "probs" in value},
    )
