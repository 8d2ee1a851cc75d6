"""Writes what inference found in studies: a file a study."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor

from mtmedformer_monai.io.atomic_files import write_atomically
from mtmedformer_monai.keys import IMAGE, PRED, STUDY_ID, STUDY_VIEWS
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.tasks.study_task import StudyTask

_logger = logging.getLogger(__name__)


class SaveStudies:
    """Writes `study_<number>.json`: what the views that are there tell of each image, each breast, and the study.

    `views`: {view: file and the image's own classes}; `breasts`: {R, L: fused classes}, a breast without a view is
    left out; `fused`: classes of the whole study. Masks and boxes of single images are what inference.json writes.

    The evaluator needs `PrepareStudyBatch`, `ActivateTasksd` and `decollate=False`.

    Args:
        tasks: of single images.
        study_tasks: that fuse views.
        folder: where the files go.
    """

    def __init__(self, tasks: Sequence[Task], study_tasks: Sequence[StudyTask], folder: str) -> None:
        self._tasks = [task for task in tasks if task.describes_image]
        self._study_tasks = list(study_tasks)
        self._folder = Path(folder)
        self._count = 0

    def attach(self, engine: Engine) -> None:
        """Registers on an evaluator."""
        engine.add_event_handler(Events.STARTED, self._reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._tell)

    def _reset(self) -> None:
        self._count = 0

    def __call__(self, engine: Engine) -> None:
        """Writes the studies of the batch at hand."""
        batch, probs = engine.state.batch, engine.state.output[PRED]
        present = ~torch.as_tensor(batch[IMAGE])[:, :, 0, 0].isnan()
        for index, study in enumerate(batch[STUDY_ID]):
            files = [str(by_view[index]) for by_view in batch["files"]]
            self._count += 1
            report = {"study": study} | self._describe(probs, index, present[index].tolist(), files)
            text = json.dumps(report, indent=2).encode()
            write_atomically(self._folder / f"study_{self._count:04d}.json", lambda file, text=text: file.write(text))  # type: ignore[misc]

    def _describe(
        self, probs: Mapping[str, Tensor], index: int, present: Sequence[bool], files: Sequence[str]
    ) -> dict[str, Any]:
        views = {
            view: {"file": files[place], "findings": self._of_image(probs, index * len(STUDY_VIEWS) + place)}
            for place, view in enumerate(STUDY_VIEWS)
            if present[place]
        }
        sides = {view[0] for view in views}
        breasts = {
            side: self._of_group(probs, "breast", 2 * index + place)
            for place, side in enumerate(("R", "L"))
            if side in sides
        }
        return {"views": views, "breasts": breasts, "fused": self._of_group(probs, "study", index)}

    def _of_image(self, probs: Mapping[str, Tensor], row: int) -> dict[str, Any]:
        return {task.name: task.describe(probs[task.name][row]) for task in self._tasks}

    def _of_group(self, probs: Mapping[str, Tensor], level: str, row: int) -> dict[str, Any]:
        fused = [each.task for each in self._study_tasks if each.level == level]
        return {task.name: task.describe(probs[task.name][row]) for task in fused}

    def _tell(self) -> None:
        _logger.info("Predictions of %d studies in %s.", self._count, self._folder)
