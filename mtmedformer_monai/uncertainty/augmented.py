"""Inferer that quantifies uncertainty by test-time augmentation, for models without a posterior over the weights.

The image is predicted several times with small changes that should not change the findings; what the predictions
disagree on is uncertain (Wang et al., Neurocomputing 2019).
"""

# S views, B batch, A points, K classes

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor, nn

from mtmedformer_monai.keys import BoxRow
from mtmedformer_monai.tasks.base import Task

_SIDES = {"left": "right", "l": "r"}
_OPPOSITE = _SIDES | {right: left for left, right in _SIDES.items()}


@dataclass(frozen=True)
class View:
    """One change of the image, undone in the prediction.

    Attributes:
        flip: whether to flip left and right.
        shift: pixels to the right and downward; less than half of the finest stride, so that points keep their boxes.
        gamma: exponent of the gray values in [0, 1]; below 1 brightens.
    """

    flip: bool = False
    shift: tuple[int, int] = (0, 0)
    gamma: float = 1.0

    def apply(self, image: Tensor) -> Tensor:
        """Changes images (B, 1, H, W); pixels from outside are 0, the background."""
        moved = shift_map(image, self.shift, "constant")
        changed = moved.flip(-1) if self.flip else moved
        return changed if self.gamma == 1.0 else changed.clamp(0, 1) ** self.gamma

    def undo(self, task: Task, output: Tensor, width: int) -> Tensor:
        """Returns a raw output for the unchanged image.

        Args:
            task: task of the output: maps (B, C, H, W), rows (B, A, 7 + K) or logits (B, L).
            output: output for the changed image.
            width: width of the changed image.

        Raises:
            ValueError: if the view is flipped and a name with a side has no counterpart.
        """
        if output.ndim == 4:
            flipped = output.flip(-1)[:, mirrored_order(task.structures) or slice(None)] if self.flip else output
            return shift_map(flipped, (-self.shift[0], -self.shift[1]), "replicate")
        if task.has_boxes:
            rows = _flip_rows(output, width, mirrored_order(task.classes)) if self.flip else output.clone()
            rows[..., BoxRow.BOX] -= torch.tensor([*self.shift, *self.shift], dtype=rows.dtype, device=rows.device)
            return rows
        return _flip_logits(task, output) if self.flip else output


def default_views(flip: bool = False) -> list[View]:
    """Returns the unchanged image, shifts by 2 pixels, and 10 percent more and less gamma; optionally, the flip.

    The flip is off by default because the bundles train without flips: a mirrored chest has its heart on the wrong
    side, and a mirrored breast its chest wall, so that the disagreement would measure the unknown anatomy.
    """
    shifts = [View(shift=shift) for shift in ((2, 0), (-2, 0), (0, 2), (0, -2))]
    return [View(), *shifts, View(gamma=0.9), View(gamma=1.1), *([View(flip=True)] if flip else [])]


class AugmentedInferer(Inferer):
    """Returns the network's outputs and the disagreement between views of the image.

    As the `PosteriorInferer`, it adds tensors named `{task}.{measure}`, which `Task.combine_samples` documents. Unless
    `average` is set, the outputs are those of the first view, so that calibration and operating thresholds, which were
    fitted for the plain network, still hold.

    Args:
        tasks: the network's tasks.
        views: two or more views, the first of them without any change; `default_views()` by default.
        average: whether to return the outputs averaged over the views.
        inferer: inferer that runs the network; MONAI's SimpleInferer by default.

    Raises:
        ValueError: if there are fewer than two views, or the first changes the image.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        views: Sequence[View] | None = None,
        average: bool = False,
        inferer: Inferer | None = None,
    ) -> None:
        super().__init__()
        self._views = list(default_views() if views is None else views)
        if len(self._views) < 2 or self._views[0] != View():
            raise ValueError(f"views expects View() and one or more others, got {self._views}.")
        self._tasks = list(tasks)
        self._average = average
        self._inferer = inferer or SimpleInferer()

    @torch.no_grad()
    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Runs the network once per view.

        Args:
            inputs: images (B, 1, H, W) in [0, 1].
            network: network in evaluation mode.
            args: passed on to the inferer.
            kwargs: passed on to the inferer.
        """
        height, width = inputs.shape[-2:]
        plain = _pad_to_stride(inputs.as_subclass(Tensor), network)
        samples: dict[str, list[Tensor]] = {task.name: [] for task in self._tasks}
        for view in self._views:
            outputs = self._inferer(view.apply(plain), network, *args, **kwargs)
            for task in self._tasks:
                undone = view.undo(task, outputs[task.name].float(), plain.shape[-1])
                samples[task.name].append(undone[..., :height, :width] if undone.ndim == 4 else undone)
        return self._summarize({name: torch.stack(gathered) for name, gathered in samples.items()})

    def _summarize(self, samples: dict[str, Tensor]) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = {}
        for task in self._tasks:
            joint, measures = task.combine_samples(samples[task.name])
            outputs[task.name] = joint if self._average else samples[task.name][0]
            outputs |= {f"{task.name}.{measure}": value for measure, value in measures.items()}
        return outputs


def shift_map(maps: Tensor, shift: tuple[int, int], mode: str) -> Tensor:
    """Shifts maps (B, C, H, W) by (x, y) pixels to the right and downward; the size is unchanged.

    Args:
        maps: the maps.
        shift: pixels.
        mode: 'constant' fills with 0, 'replicate' with the edge.
    """
    x, y = shift
    if (x, y) == (0, 0):
        return maps
    height, width = maps.shape[-2:]
    padded = F.pad(maps, (max(x, 0), max(-x, 0), max(y, 0), max(-y, 0)), mode=mode)
    top, left = max(-y, 0), max(-x, 0)
    return padded[..., top : top + height, left : left + width]


def mirrored_order(names: Sequence[str]) -> list[int]:
    """Returns the index of each name's counterpart on the other side, or its own index if it has no side.

    Example:
        >>> mirrored_order(["heart", "left lung", "right lung"]), mirrored_order(["RightLung", "LeftLung"])
        ([0, 2, 1], [1, 0])

    Raises:
        ValueError: if a name with a side has no counterpart.
    """
    known = {name.lower(): index for index, name in enumerate(names)}
    order = []
    for name in names:
        words = re.split(r"([^a-zA-Z]+|(?<=[a-z])(?=[A-Z]))", name)
        other = "".join(_OPPOSITE.get(word.lower(), word.lower()) for word in words)
        if other not in known:
            raise ValueError(f"a flip expects {name!r} to have a counterpart on the other side, got {list(names)}.")
        order.append(known[other])
    return order


def _flip_rows(rows: Tensor, width: int, order: list[int]) -> Tensor:
    """Mirrors boxes, and moves each row to the point that lies where its own point lay before the flip."""
    flipped = rows.clone()
    flipped[..., 0], flipped[..., 2] = width - rows[..., 2], width - rows[..., 0]
    flipped[..., BoxRow.LOGITS] = rows[..., BoxRow.LOGITS][..., order]
    points = rows[0, :, BoxRow.POINT].double().cpu()
    mirrored = points.clone()
    mirrored[:, 0] = width - points[:, 0]
    places, sources = (_order_of(each) for each in (points, mirrored))
    if not torch.equal(points[places], mirrored[sources]):
        raise ValueError(f"a flip expects points that are symmetric in the width of {width}; pad to the stride first.")
    moved = flipped.clone()
    moved[:, places.to(rows.device)] = flipped[:, sources.to(rows.device)]
    moved[..., BoxRow.POINT] = rows[..., BoxRow.POINT]
    return moved


def _order_of(points: Tensor) -> Tensor:
    """Returns the order of points (A, 3) by stride, y and x."""
    order = points[:, 0].argsort(stable=True)
    for column in (1, 2):
        order = order[points[order, column].argsort(stable=True)]
    return order


def _flip_logits(task: Task, logits: Tensor) -> Tensor:
    order = mirrored_order(task.classes)
    if order == list(range(len(order))):
        return logits
    if logits.shape[-1] == 1:  # one logit for the second of two classes
        return -logits
    if logits.shape[-1] != len(order):
        raise ValueError(f"task {task.name!r} can't be flipped: its {logits.shape[-1]} logits have no sides.")
    return logits[..., order]


def _pad_to_stride(image: Tensor, network: nn.Module) -> Tensor:
    """Pads on the right and at the bottom, as the network itself does, so that its points are symmetric."""
    stride = int(getattr(network, "stride", 1))
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % stride, 0, -height % stride))
