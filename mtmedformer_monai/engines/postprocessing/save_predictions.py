"""Writes what inference found, a set of files an image."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from PIL import Image
from torch import Tensor
from torch.nn import functional

from mtmedformer_monai.io.atomic_files import write_atomically
from mtmedformer_monai.keys import IMAGE, NOTICE, PRED, PROBS, RESULT, MetaKey
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.transforms import restore_masks
from mtmedformer_monai.transforms.radiograph_meta import describe_meta
from mtmedformer_monai.visualization.overlay import Example, draw_prediction

from .output_names import OutputNames, absolute, relative_to_given, stem_of
from .provenance import describe_run

_logger = logging.getLogger(__name__)


ENDINGS = (".json", "_labels.png", "_overlay.png")
"""Of the files of one image."""


class SavePredictions:
    """Writes three files an image, named after it (see `OutputNames`).

    `<name>.json`: findings of all tasks, boxes in the source's pixels, what the numbers of the label map mean, and what
    traces them: file, UIDs, laterality, view, spacing, flags, weights, versions.
    `<name>_labels.png`: the label map, 8 bit, of the source's size.
    `<name>_overlay.png`: a picture for people.

    The evaluator needs the postprocessing that the bundle's inference.json has, and `decollate=True`.

    Args:
        tasks: the network's tasks.
        folder: where the files go.
        overlay: also draw the picture.
        source: what was given for inference, file, folder or several; results name their file from there.
        weights: file of the network's weights; '' if it has none.
        bundle_root: the bundle's folder.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        folder: str,
        overlay: bool = True,
        source: str | Sequence[str] = "",
        weights: str = "",
        bundle_root: str = "",
    ) -> None:
        self._tasks = list(tasks)
        self._folder = Path(folder)
        self._overlay = overlay
        self._source = source
        self._weights = weights
        self._bundle_root = bundle_root
        self._run: dict[str, Any] | None = None
        self._names = OutputNames(self._folder, ENDINGS, _identify)

    def attach(self, engine: Engine) -> None:
        """Registers on an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._log)

    def _start(self, engine: Engine) -> None:
        """Names all images of the run together, where its dataset lists them."""
        items = getattr(getattr(engine.state.dataloader, "dataset", None), "data", None) or ()
        paths = [str(item[IMAGE]) for item in items if isinstance(item, Mapping) and isinstance(item.get(IMAGE), str)]
        self._names = OutputNames(self._folder, ENDINGS, _identify, paths)
        self._names.plan({absolute(path): stem_of(path) for path in paths})
        self._run = None

    def __call__(self, engine: Engine) -> None:
        """Writes the images of the batch at hand."""
        if not isinstance(engine.state.output, list):
            raise ValueError("SavePredictions expects single images, got a batch; set the evaluator's decollate=True.")
        for item in engine.state.output:
            self._write(item)

    def _write(self, item: Mapping[str, Any]) -> None:
        if RESULT not in item:
            raise ValueError("SavePredictions expects findings under 'result'; put DescribeTasksd into postprocessing.")
        image: MetaTensor = item[IMAGE]
        file = str(image.meta[MetaKey.FILENAME])
        if not file:  # stands in for an image that could not be read
            return
        path = self._folder / self._names.name(absolute(file), stem_of(file))
        report = json.dumps(self._report(file, image, item[RESULT]), indent=2).encode()
        write_atomically(path.with_name(f"{path.name}.json"), lambda stream: stream.write(report))
        labels = Image.fromarray(np.ascontiguousarray(np.asarray(item[PRED]).T))
        write_atomically(path.with_name(f"{path.name}_labels.png"), lambda stream: labels.save(stream, format="PNG"))
        if self._overlay:
            draw_prediction(_example(image, item[PROBS]), self._tasks, path.with_name(f"{path.name}_overlay.png"))

    def _report(self, file: str, image: MetaTensor, findings: Mapping[str, Any]) -> dict[str, Any]:
        if self._run is None:
            self._run = describe_run(self._weights, self._bundle_root)
        root, relative = relative_to_given(file, self._source)
        return {
            "notice": NOTICE,
            "image": relative,
            "root": root,
            **describe_meta(image.meta),
            "findings": findings,
            "label_map": {str(number): label for number, label in enumerate(label_names(self._tasks))},
            **self._run,
        }

    def _log(self) -> None:
        _logger.info("Predictions of %d images in %s.", len(self._names), self._folder)


def _identify(report: Mapping[str, Any]) -> str:
    """The image of a report that `SavePredictions` wrote."""
    root, image = report.get("root"), report.get("image")
    return absolute(Path(root) / image) if isinstance(root, str) and isinstance(image, str) else ""


def label_names(tasks: Sequence[Task]) -> list[str]:
    """Names of a label map's numbers: background, then the structures of all tasks."""
    structures = [name for task in tasks for name in task.structures]
    return ["background", *structures]


DRAWN_SIDE = 1024
"""Longest side of the picture; larger sources are shrunk for drawing."""


def _example(image: MetaTensor, probs: Mapping[str, Tensor]) -> Example:
    """Image and probabilities in the source's frame, shrunk to a size that is worth drawing."""
    rows, columns = (int(length) for length in image.meta[MetaKey.SOURCE_SHAPE])
    to_source = np.asarray(image.meta[MetaKey.TO_SOURCE], dtype=np.float64)
    source = restore_masks(image.as_tensor().cpu().float(), to_source, (rows, columns))[0]
    scale = min(1.0, DRAWN_SIDE / max(rows, columns))
    drawn = {name: _shrunk(values.float(), scale) for name, values in probs.items()}
    return Example(_shrunk(source[None], scale)[0], {}, drawn)


def _shrunk(values: Tensor, scale: float) -> Tensor:
    """Maps (C, H, W) are resampled, boxes (A, 7 + K) scaled, class probabilities left alone."""
    if scale == 1.0 or values.ndim == 1:
        return values
    if values.ndim == 2:
        return torch.cat([values[:, :4] * scale, values[:, 4:]], dim=1)
    size = [max(1, round(length * scale)) for length in values.shape[1:]]
    return functional.interpolate(values[None], size=size, mode="area")[0]
