"""Writes the results of inference, a set of files per image."""

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
from mtmedformer_monai.keys import GUARD, IMAGE, NOTICE, PRED, PROBS, REFUSED, RESULT, MetaKey
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.transforms import restore_masks
from mtmedformer_monai.transforms.radiograph_meta import describe_meta
from mtmedformer_monai.visualization.overlay import Example, draw_prediction

from .output_names import OutputNames, absolute, relative_to_given, stem_of
from .provenance import describe_run

_logger = logging.getLogger(__name__)


ENDINGS = (".json", "_labels.png", "_overlay.png")
"""Endings of the files of one image."""


class SavePredictions:
    """Writes three files per image, named after the image (see `OutputNames`).

    `<name>.json`: findings of all tasks, with boxes in source pixels; the names of the values of the label map; and the
    provenance: file, UIDs, laterality, view, spacing, flags, weights and versions.
    `<name>_labels.png`: 8-bit label map of the source's size.
    `<name>_overlay.png`: picture of the image with its predictions.

    An image that the guard refuses has only the JSON file, with the reason under `refused` and without findings.

    The evaluator needs the postprocessing of the bundle's inference.json and `decollate=True`.

    Args:
        tasks: the network's tasks.
        folder: output folder.
        overlay: whether to draw the picture.
        source: input file or folder of the inference, or several; results contain file paths relative to it.
        weights: file of the network's weights; '' if there is none.
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
        self._written = 0

    def attach(self, engine: Engine) -> None:
        """Registers the handler on an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._log_summary)

    def _start(self, engine: Engine) -> None:
        """Assigns the names of all images of the run at once if its dataset lists them."""
        items = getattr(getattr(engine.state.dataloader, "dataset", None), "data", None) or ()
        paths = [str(item[IMAGE]) for item in items if isinstance(item, Mapping) and isinstance(item.get(IMAGE), str)]
        self._names = OutputNames(self._folder, ENDINGS, _identify, paths)
        self._names.plan({absolute(path): stem_of(path) for path in paths})
        self._run = None
        self._written = 0

    def __call__(self, engine: Engine) -> None:
        """Writes the results of the current batch."""
        if not isinstance(engine.state.output, list):
            raise ValueError("SavePredictions expects single images, got a batch; set the evaluator's decollate=True.")
        for item in engine.state.output:
            self._write(item)

    def _write(self, item: Mapping[str, Any]) -> None:
        if RESULT not in item:
            raise ValueError("SavePredictions expects findings under 'result'; add DescribeTasksd to postprocessing.")
        image: MetaTensor = item[IMAGE]
        file = str(image.meta[MetaKey.FILENAME])
        if not file:  # placeholder of an unreadable image
            return
        path = self._folder / self._names.name(absolute(file), stem_of(file))
        report = json.dumps(self._report(file, image, item), indent=2).encode()
        write_atomically(path.with_name(f"{path.name}.json"), lambda stream: stream.write(report))
        if item.get(REFUSED):
            _logger.warning("%s: %s", path.name, item[REFUSED])
            for ending in ENDINGS[1:]:  # of an earlier run that did not refuse the image
                path.with_name(f"{path.name}{ending}").unlink(missing_ok=True)
            return
        self._written += 1
        labels = Image.fromarray(np.ascontiguousarray(np.asarray(item[PRED]).T))
        write_atomically(path.with_name(f"{path.name}_labels.png"), lambda stream: labels.save(stream, format="PNG"))
        if self._overlay:
            draw_prediction(_example(image, item[PROBS]), self._tasks, path.with_name(f"{path.name}_overlay.png"))

    def _report(self, file: str, image: MetaTensor, item: Mapping[str, Any]) -> dict[str, Any]:
        if self._run is None:
            self._run = describe_run(self._weights, self._bundle_root)
        root, relative = relative_to_given(file, self._source)
        return {
            "notice": NOTICE,
            "image": relative,
            "root": root,
            **describe_meta(image.meta),
            "guard": item.get(GUARD),
            **({"refused": item[REFUSED], "findings": {}} if item.get(REFUSED) else {"findings": item[RESULT]}),
            "label_map": {str(number): label for number, label in enumerate(label_names(self._tasks))},
            **self._run,
        }

    def _log_summary(self) -> None:
        _logger.info("Predictions of %d images in %s.", self._written, self._folder)


def _identify(report: Mapping[str, Any]) -> str:
    """Returns the path of the image of a report that `SavePredictions` wrote, or '' for other content."""
    root, image = report.get("root"), report.get("image")
    return absolute(Path(root) / image) if isinstance(root, str) and isinstance(image, str) else ""


def label_names(tasks: Sequence[Task]) -> list[str]:
    """Returns the names of a label map's values: background, then the structures of all tasks."""
    structures = [name for task in tasks for name in task.structures]
    return ["background", *structures]


DRAWN_SIDE = 1024
"""Maximum side of the picture in pixels; larger images are downsampled for drawing."""


def _example(image: MetaTensor, probs: Mapping[str, Tensor]) -> Example:
    """Returns the image and its predictions in the source's pixel grid, downsampled for drawing if necessary."""
    rows, columns = (int(length) for length in image.meta[MetaKey.SOURCE_SHAPE])
    to_source = np.asarray(image.meta[MetaKey.TO_SOURCE], dtype=np.float64)
    source = restore_masks(image.as_tensor().cpu().float(), to_source, (rows, columns))[0]
    scale = min(1.0, DRAWN_SIDE / max(rows, columns))
    drawn = {name: _shrunk(values.float(), scale) for name, values in probs.items()}
    return Example(_shrunk(source[None], scale)[0], {}, drawn)


def _shrunk(values: Tensor, scale: float) -> Tensor:
    """Resamples maps (C, H, W) and scales boxes (A, 7 + K); class probabilities are returned unchanged."""
    if scale == 1.0 or values.ndim == 1:
        return values
    if values.ndim == 2:
        return torch.cat([values[:, :4] * scale, values[:, 4:]], dim=1)
    size = [max(1, round(length * scale)) for length in values.shape[1:]]
    return functional.interpolate(values[None], size=size, mode="area")[0]
