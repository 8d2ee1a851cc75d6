"""Draws a few validation examples when the run is completed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.engines import IterationEvents
from monai.utils import CommonKeys
from torch import Tensor

from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.visualization.overlay import Example, draw_examples

from .order import after_all


class ExamplePictures:
    """Draws `examples.png`: annotations and predictions of images that are evenly spaced over the validation list.

    Attached to a trainer, it draws examples of the last validation when training is completed; attached to an evaluator
    that runs on its own, it draws examples of that run. For a study (images of several views), each view is drawn in
    its own row, with the classes of the study beside it.

    Args:
        tasks: the network's tasks.
        folder: folder of the picture.
        evaluator: evaluator of the validation during training; None if the handler is attached to an evaluator.
        num_examples: number of examples.
    """

    def __init__(
        self, tasks: Sequence[Task], folder: str, evaluator: Engine | None = None, num_examples: int = 6
    ) -> None:
        self._tasks = list(tasks)
        self._path = Path(folder) / "examples.png"
        self._evaluator = evaluator
        self._num_examples = num_examples
        self._examples: list[Example] = []
        self._wanted: set[int] = set()
        self._seen = 0

    def attach(self, engine: Engine) -> None:
        """Registers the handler on a trainer or an evaluator; process 0 draws examples from its share of the images."""
        if idist.get_rank() != 0:
            return
        evaluator = engine if self._evaluator is None else self._evaluator
        evaluator.add_event_handler(Events.EPOCH_STARTED, self._choose)
        evaluator.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._keep)
        after_all(engine, Events.COMPLETED, self._draw)

    def _choose(self, evaluator: Engine) -> None:
        self._examples, self._seen = [], 0
        dataset = getattr(evaluator.data_loader, "dataset", None)
        size = len(dataset) if dataset is not None else self._num_examples
        self._wanted = spread(size, self._num_examples)

    @torch.no_grad()
    def _keep(self, evaluator: Engine) -> None:
        output = evaluator.state.output
        images, targets, outputs = (output[key] for key in (CommonKeys.IMAGE, CommonKeys.LABEL, CommonKeys.PRED))
        probs = {task.name: task.activate(outputs[task.name]) for task in self._tasks}
        views = images.shape[1]
        for index in range(len(images)):
            if self._seen in self._wanted and len(self._examples) < self._num_examples:
                places = [index * views + view for view in range(views) if not images[index, view, 0, 0].isnan()]
                self._examples += [_example(images.flatten(0, 1), targets, probs, place) for place in places]
            self._seen += 1

    def _draw(self) -> None:
        if self._examples:
            draw_examples(self._examples, self._tasks, self._path)


def _example(images: Tensor, targets: Mapping[str, Tensor], probs: Mapping[str, Tensor], place: int) -> Example:
    """Selects one of the images (N, H, W); outputs of breasts and studies, of fewer rows, apply to all their views."""

    def row(values: Tensor) -> Tensor:
        return _on_cpu(values[place * len(values) // len(images)])

    named = {name: row(target) for name, target in targets.items()}
    return Example(_on_cpu(images[place]), named, {name: row(values) for name, values in probs.items()})


def spread(size: int, count: int) -> set[int]:
    """Returns at most `count` evenly spaced indices below `size`, each in the middle of an equal share.

    Example:
        >>> sorted(spread(10, 2)), sorted(spread(2, 5))
        ([2, 7], [0, 1])
    """
    return {int((i + 0.5) * size / count) for i in range(count)} & set(range(size))


def _on_cpu(tensor: Tensor) -> Tensor:
    plain: Tensor = tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor
    return plain.detach().float().cpu().clone()
