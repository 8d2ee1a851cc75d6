"""The loss of a mask that nobody outlined, from what the image's other labels say about it.

Axes: B batch, N boxes, H rows, W columns, P pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mtmedformer_monai.keys import BoxRow
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.tasks.known_classes import KnownClasses
from mtmedformer_monai.tasks.partial import annotated_mean, keep_annotated

Batch = Mapping[str, Tensor]


class ImpliedMask:
    """Teaches a structure's mask on images that are annotated with boxes or a class instead.

    Three facts hold wherever the outline may be: a class such as `normal` excludes the structure; outside its boxes the
    structure is absent, and it fills a good part of them; a class such as `pneumonia` says that it is somewhere. The
    loss of an image is the cross-entropy of "absent" over the pixels where the structure can't be, plus that of
    "present" over the pixels that are most likely to be of it: as many as fill a share of the boxes, or, without boxes,
    as the smallest visible structure has. Images with a mask contribute nothing, nor do those whose labels say nothing.

    Learning masks from classes by their most likely pixels is multiple-instance learning (Pinheiro and Collobert, CVPR
    2015); that boxes bound a mask is used by Tian et al. (BoxInst, CVPR 2021), who compare projections.

    In a federation, only the encoder learns from it at a client that has no mask of the task at all, because a client
    sends the decoders of its own labels' tasks alone.

    Args:
        task: name of the segmentation task.
        structure: name of its structure; it may be omitted if it is the only one.
        boxes: name of a detection task all of whose boxes bound the structure; empty for none.
        finding: name of a binary or multi-class classification task; empty for none.
        absent: classes of the finding that exclude the structure.
        present: classes that imply it.
        inside: name of a segmentation task whose structures, as predicted, contain the structure where no boxes say
            where it is, such as the lungs; empty for the whole image.
        min_area: smallest area of a present structure as a share of the image, in (0, 1).
        fill: share of the area of its boxes that the structure fills at least, in (0, 1].
        weight: of this loss beside the one of outlined masks.

    Raises:
        ValueError: a share or the weight is out of its range, or there is nothing to draw conclusions from.
    """

    def __init__(
        self,
        task: str,
        structure: str = "",
        boxes: str = "",
        finding: str = "",
        absent: Sequence[str] = (),
        present: Sequence[str] = (),
        inside: str = "",
        min_area: float = 0.01,
        fill: float = 0.5,
        weight: float = 0.5,
    ) -> None:
        if not (0 < min_area < 1 and 0 < fill <= 1 and weight >= 0):
            raise ValueError(
                f"the implied mask of {task!r} expects min_area in (0, 1), fill in (0, 1] and a weight of 0 or more, "
                f"got {min_area}, {fill} and {weight}."
            )
        if not boxes and not (finding and (absent or present)):
            raise ValueError(
                f"the implied mask of {task!r} expects boxes, or a finding with absent or present classes."
            )
        self.task, self.structure, self.boxes, self.finding, self.inside = task, structure, boxes, finding, inside
        self.absent, self.present = list(absent), list(present)
        self.min_area, self.fill, self.weight = min_area, fill, weight
        self._tasks: dict[str, Task] = {}
        self._channel = 0
        self._absent: list[int] = []
        self._present: list[int] = []

    def resolve(self, tasks: Sequence[Task]) -> None:
        """Looks up the names; call it once, before `loss`.

        Args:
            tasks: of the network.

        Raises:
            ValueError: a task, structure or class does not exist, a task is of another kind, or a client of a
                federation annotates only some of its classes, so that boxes or a finding say less than they seem to.
        """
        by_name = self._tasks = {task.name: task for task in tasks}
        missing = {self.task, self.boxes, self.finding, self.inside} - {"", *by_name}
        if missing:
            raise ValueError(
                f"the implied mask of {self.task!r} expects tasks out of {sorted(by_name)}, got {sorted(missing)}."
            )
        for name in (self.task, self.boxes, self.finding, self.inside):
            if isinstance(by_name.get(name), KnownClasses):
                raise ValueError(
                    f"the implied mask of {self.task!r} expects all classes of {name!r} to be known; omit the implied "
                    "mask where known_classes restricts this task."
                )
        structures = list(by_name[self.task].structures)
        if self.structure not in structures and (self.structure or len(structures) != 1):
            raise ValueError(
                f"the implied mask of {self.task!r} expects one of its structures {structures}, got {self.structure!r}."
            )
        self._channel = structures.index(self.structure) if self.structure else 0
        if self.inside and not by_name[self.inside].structures:
            raise ValueError(f"the implied mask of {self.task!r} expects masks of `inside`, got {self.inside!r}.")
        if self.boxes and not by_name[self.boxes].has_boxes:
            raise ValueError(f"the implied mask of {self.task!r} expects a task with boxes, got {self.boxes!r}.")
        self._absent, self._present = (self._indices(names) for names in (self.absent, self.present))

    def _indices(self, names: Sequence[str]) -> list[int]:
        """Returns the indices of classes of the finding."""
        if self.finding and getattr(self._tasks[self.finding], "kind", "") == "multilabel":
            raise ValueError(f"the implied mask of {self.task!r} expects exclusive classes, got {self.finding!r}.")
        known = list(self._tasks[self.finding].classes) if self.finding else []
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise ValueError(f"the implied mask of {self.task!r} expects classes out of {known}, got {unknown}.")
        return [known.index(name) for name in names]

    def loss(self, outputs: Batch, targets: Batch) -> tuple[Tensor, Tensor]:
        """Returns the weighted loss, a mean over the images that imply something, and whether there are any.

        Args:
            outputs: {task: raw output}, logits (B, C, H, W) for the mask.
            targets: {task: target}, NaN where not annotated.

        Returns:
            Scalar, exactly 0 with zero gradient if no image implies anything; bool ().
        """
        open_ = ~self._tasks[self.task].is_annotated(targets[self.task][:, self._channel])
        logits = keep_annotated(outputs[self.task][:, self._channel], open_[:, None, None])
        boxed, possible = self._boxes(targets, logits)
        absent, present = self._classes(targets, open_)
        excluded = torch.where(boxed[:, None, None], ~possible, absent[:, None, None].expand_as(possible))
        outside = (F.softplus(logits) * excluded).mean(dim=(1, 2))
        counts = torch.where(boxed, self.fill * possible.sum(dim=(1, 2)), present * self.min_area * logits[0].numel())
        region = torch.where(boxed[:, None, None], possible, self._inside(outputs, logits))
        losses = outside + most_likely_loss(logits.flatten(1), region.flatten(1), counts.ceil())
        implied = open_ & (boxed | absent | present)
        return self.weight * annotated_mean(losses, implied), implied.any()

    def _boxes(self, targets: Batch, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Returns whether boxes are annotated, bool (B,), and which pixels are inside of any, bool (B, H, W)."""
        if not self.boxes:
            return torch.zeros_like(logits[:, 0, 0], dtype=torch.bool), torch.zeros_like(logits, dtype=torch.bool)
        rows = targets[self.boxes]
        known = self._tasks[self.boxes].is_annotated(rows)
        used = rows[..., BoxRow.CLASS] >= 0
        y, x = (torch.arange(n, device=rows.device) + 0.5 for n in logits.shape[1:])
        inside_y = _between(y, rows[..., 1, None], rows[..., 3, None]) & used[..., None]  # (B, N, H)
        inside_x = _between(x, rows[..., 0, None], rows[..., 2, None])
        return known, torch.bmm(inside_y.float().transpose(1, 2), inside_x.float()) > 0

    def _classes(self, targets: Batch, open_: Tensor) -> tuple[Tensor, Tensor]:
        """Returns whether the finding excludes and whether it implies the structure, both bool (B,)."""
        absent, present = torch.zeros_like(open_), torch.zeros_like(open_)
        if self.finding:
            found = targets[self.finding].flatten()
            for index in self._absent:
                absent = absent | (found == index)
            for index in self._present:
                present = present | (found == index)
        return absent, present

    def _inside(self, outputs: Batch, logits: Tensor) -> Tensor:
        """Returns where a present structure may be, bool (B, H, W)."""
        if not self.inside:
            return torch.ones_like(logits, dtype=torch.bool)
        return (outputs[self.inside].detach() > 0).any(dim=1)


def _between(centers: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Returns which pixels have their center in an interval, and the middle one: a short interval may have none."""
    return ((centers >= low) & (centers < high)) | (centers.floor() == ((low + high) / 2).floor())


def most_likely_loss(logits: Tensor, region: Tensor, counts: Tensor) -> Tensor:
    """Returns the cross-entropy of "present" over the most likely pixels of a region, (B,).

    Args:
        logits: (B, P).
        region: bool (B, P).
        counts: (B,) number of pixels, not below 0; a smaller region is taken as a whole.

    Returns:
        Mean over the pixels; exactly 0 without pixels.
    """
    ranked, order = torch.where(region, logits, torch.full_like(logits, -torch.inf)).sort(dim=1, descending=True)
    places = torch.arange(logits.shape[1], device=logits.device)
    chosen = (places < counts[:, None]) & torch.gather(region, 1, order)
    losses = F.softplus(-torch.where(chosen, ranked, torch.zeros_like(ranked)))
    return torch.where(chosen, losses, torch.zeros_like(losses)).sum(dim=1) / chosen.sum(dim=1).clamp(min=1)
