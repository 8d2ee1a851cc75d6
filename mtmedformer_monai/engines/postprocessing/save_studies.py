"""Writes the results of inference on studies, one file per study."""

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
from mtmedformer_monai.keys import IMAGE, NOTICE, PRED, STUDY_ID, STUDY_VIEWS
from mtmedformer_monai.tasks.applicability import describe_tasks
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.tasks.study_task import StudyTask

from .output_names import OutputNames, relative_to_given
from .provenance import describe_run

_logger = logging.getLogger(__name__)


ENDINGS = (".json",)


class SaveStudies:
    """Writes `study_<number>.json` with the findings in each image, in each breast and in the whole study.

    `views`: {view: provenance of the image and its classes}; `breasts`: {R, L: fused classes}, without breasts that
    have no view; `fused`: classes of the whole study. Masks and boxes of single images are written by inference.json.
    If a file of another study has the same name, part of the study's SHA-256 is appended (see `OutputNames`).

    The evaluator needs `PrepareStudyBatch`, `ActivateTasksd` and `decollate=False`.

    Args:
        tasks: tasks of single images.
        study_tasks: tasks that fuse views.
        folder: output folder.
        source: input file or folder of the inference, or several; results contain file paths relative to it.
        weights: file of the network's weights; '' if there is none.
        bundle_root: the bundle's folder.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        study_tasks: Sequence[StudyTask],
        folder: str,
        source: str | Sequence[str] = "",
        weights: str = "",
        bundle_root: str = "",
    ) -> None:
        self._tasks = [task for task in tasks if task.describes_image]
        self._study_tasks = list(study_tasks)
        self._folder = Path(folder)
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
        """Numbers all studies of the run if its dataset lists them, so that several processes agree on the numbers."""
        studies = getattr(getattr(engine.state.dataloader, "dataset", None), "data", None) or ()
        ids = [str(study[STUDY_ID]) for study in studies if isinstance(study, Mapping) and STUDY_ID in study]
        self._names = OutputNames(self._folder, ENDINGS, _identify)
        self._names.plan({study: f"study_{number:04d}" for number, study in enumerate(ids, start=1)})
        self._run = None
        self._written = 0

    def __call__(self, engine: Engine) -> None:
        """Writes the results of the current batch."""
        batch, probs = engine.state.batch, engine.state.output[PRED]
        if self._run is None:
            self._run = describe_run(self._weights, self._bundle_root)
        present = ~torch.as_tensor(batch[IMAGE])[:, :, 0, 0].isnan()
        for index, study in enumerate(batch[STUDY_ID]):
            if not present[index].any():  # none of its images could be read
                continue
            sources = [self._source_of(batch, place, index) for place in range(len(STUDY_VIEWS))]
            report = {"notice": NOTICE, "study": study} | self._describe(probs, index, present[index].tolist(), sources)
            text = json.dumps(report | self._run, indent=2).encode()
            name = self._names.name(str(study), f"study_{len(self._names) + 1:04d}")
            write_atomically(self._folder / f"{name}.json", lambda file, text=text: file.write(text))  # type: ignore[misc]
            self._written += 1

    def _source_of(self, batch: Mapping[str, Any], place: int, index: int) -> dict[str, Any]:
        """Returns the file, its root and the metadata of one view."""
        facts = json.loads(batch["sources"][place][index]) if "sources" in batch else {}
        path = facts.pop("path", "")
        if not path:
            return {"file": str(batch["files"][place][index])}
        root, relative = relative_to_given(path, self._source)
        return {"file": relative, "root": root, **facts}

    def _describe(
        self, probs: Mapping[str, Tensor], index: int, present: Sequence[bool], sources: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        views = {
            view: {**sources[place], "findings": self._of_image(probs, index * len(STUDY_VIEWS) + place)}
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
        return describe_tasks(self._tasks, {task.name: probs[task.name][row] for task in self._tasks})

    def _of_group(self, probs: Mapping[str, Tensor], level: str, row: int) -> dict[str, Any]:
        fused = [each.task for each in self._study_tasks if each.level == level]
        return describe_tasks(fused, {task.name: probs[task.name][row] for task in fused})

    def _log_summary(self) -> None:
        _logger.info("Predictions of %d studies in %s.", self._written, self._folder)


def _identify(report: Mapping[str, Any]) -> str:
    """Returns the study of a report that `SaveStudies` wrote, or '' for other content."""
    return str(report["study"]) if "views" in report and "study" in report else ""
