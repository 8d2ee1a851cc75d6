"""`CompleteMasks`: gives images the masks that they lack, as predicted by a trained network."""

# C structures; H, W pixels of the source image

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from PIL import Image
from torch import Tensor, nn

from mtmedformer_monai.data.datalist import Datalist, Item, read_datalist, resolve_paths, save_datalist
from mtmedformer_monai.data.radiograph_dataset import RadiographDataset
from mtmedformer_monai.data.rebase import datalist_path, rebase_datalist
from mtmedformer_monai.io.atomic_files import load_checkpoint, write_atomically
from mtmedformer_monai.keys import IMAGE, LABEL_MAP, LABELS, MASKS, MetaKey
from mtmedformer_monai.tasks.base import Task
from mtmedformer_monai.tasks.segmentation import SegmentationTask
from mtmedformer_monai.transforms.geometry.affine import as_affine
from mtmedformer_monai.transforms.geometry.restore import restore_masks

COMPLETED = "completed"
"""Key of an item with the names of the structures whose masks a network has predicted."""

_INDEX = "index"
_logger = logging.getLogger(__name__)


class CompleteMasks:
    """Writes a datalist in which images have masks that a trained network predicts, where they have none of their own.

    A network for all tasks then learns from its teachers' masks on images that nobody outlined, as in multi-task
    self-training (Ghiasi et al., ICCV 2021). Own masks are never changed. An empty prediction is not used: whether
    there is nothing to outline is for a label to say (`absent`). Images with a label map are left as they are.

    Args:
        network: the network; its weights are replaced by those of the file.
        tasks: the network's tasks; those with masks are completed.
        weights: file of the weights.
        preprocessing: loads and prepares the image of `{"image": path}`.
        datalist: path of the datalist.
        output: path of the datalist to write, or its folder; masks are written to the folder `<name>_masks` beside it.
            It may be the same datalist.
        section: list of the datalist whose items are completed; the others are copied.
        only: names of the tasks to complete; empty for all.
        absent: {task: {classification task: classes}}: images with such a label have empty masks of the first task, and
            those without a label of the second one are not completed, because a network that has seen structures only
            where there are some predicts them in other images, too.
        device: device of the network.

    Raises:
        ValueError: a name in `only` is not that of a task with masks, or there is no such task.
    """

    def __init__(
        self,
        network: nn.Module,
        tasks: Sequence[Task],
        weights: str | Path,
        preprocessing: Compose,
        datalist: str | Path,
        output: str | Path,
        section: str = "training",
        only: Sequence[str] = (),
        absent: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.network = network
        self._tasks = [task for task in tasks if isinstance(task, SegmentationTask) and (not only or task.name in only)]
        if not self._tasks or set(only) - {task.name for task in self._tasks}:
            known = [task.name for task in tasks if isinstance(task, SegmentationTask)]
            raise ValueError(f"only tasks with masks can be completed, {known} of these weights, got {list(only)}.")
        self._weights, self._preprocessing = Path(weights), preprocessing
        self._datalist, self._output, self._section = Path(datalist), datalist_path(output), section
        self._absent = {name: dict(rules) for name, rules in (absent or {}).items()}
        self._device = torch.device(device)

    def run(self) -> Path:
        """Predicts and writes the masks and the datalist, and returns its path.

        Raises:
            FileNotFoundError: if the datalist or the weights do not exist.
            ValueError: if the datalist has no such section.
        """
        datalist = read_datalist(self._datalist)
        if not isinstance(datalist.get(self._section), list):
            lists = [name for name, value in datalist.items() if isinstance(value, list)]
            raise ValueError(f"datalist {self._datalist} has the lists {lists}, got the section {self._section!r}.")
        self.network.load_state_dict(load_checkpoint(self._weights))
        self.network.to(self._device).eval()
        completed = self._complete(datalist)
        save_datalist(completed, self._output)
        for task in self._tasks:
            for name in task.structures:
                needed = "".join(f"; others need a label of {other!r}" for other in self._absent.get(task.name, ()))
                _logger.info("%s: %s%s", name, _describe(completed[self._section], name), needed)
        return self._output

    def _complete(self, datalist: Datalist) -> Datalist:
        """Returns the datalist with paths for the output's folder, and completed items."""
        moved = rebase_datalist(datalist, self._datalist.parent, self._output.parent)
        items = moved[self._section]
        lacking = {index: wanted for index, item in enumerate(items) if (wanted := self._lacking(item))}
        folder = self._output.parent.resolve()
        images = [{IMAGE: resolve_paths(items[index], folder)[IMAGE], _INDEX: index} for index in lacking]
        dataset = RadiographDataset(images, self._preprocessing, cache="none")
        for place, entry in enumerate(dataset.data):
            prepared, index = dataset.prepared(place), entry[_INDEX]
            if prepared is not None:
                predicted = self._predict(prepared[IMAGE], lacking[index])
                names = {name: self._file_name(index, entry[IMAGE], name) for name in predicted}
                items[index] = self._completed(items[index], predicted, lacking[index], names)
        return moved

    def _completed(
        self,
        item: Item,
        predicted: Mapping[str, Tensor],
        tasks: Mapping[str, SegmentationTask],
        names: Mapping[str, str],
    ) -> Item:
        """Writes masks of an item's structures, and returns the item with them.

        Args:
            item: the item.
            predicted: {structure: bool (H, W)}.
            tasks: {structure: its task}.
            names: {structure: path of its file in the output's folder}.
        """
        masks = {}
        for name, mask in predicted.items():
            is_absent = self._is_absent(item, tasks[name])
            if is_absent or bool(mask.any()):
                masks[name] = names[name]
                _write_mask(torch.zeros_like(mask) if is_absent else mask, self._output.parent / masks[name])
        if not masks:
            return item
        return item | {MASKS: (item.get(MASKS) or {}) | masks, COMPLETED: [*item.get(COMPLETED, []), *masks]}

    def _file_name(self, index: int, image: str, structure: str) -> str:
        """Returns where a mask is written; no other image or structure has it, whatever becomes of the list later."""
        digest = hashlib.sha256(f"{image}|{structure}".encode("utf-8", "surrogatepass")).hexdigest()[:12]
        readable = re.sub(r"\W+", "_", structure)
        return f"{self._output.stem}_masks/{self._section}_{index:06d}_{readable}_{digest}.png"

    def _lacking(self, item: Item) -> dict[str, SegmentationTask]:
        """Returns {structure: task} of the masks that an item lacks and that its labels permit to complete."""
        masks, labels = item.get(MASKS) or {}, item.get(LABELS) or {}
        if item.get(LABEL_MAP):
            return {}
        decided = [
            task
            for task in self._tasks
            if all(labels.get(other) is not None for other in self._absent.get(task.name, ()))
        ]
        return {name: task for task in decided for name in task.structures if masks.get(name) is None}

    def _is_absent(self, item: Item, task: SegmentationTask) -> bool:
        """Returns whether a label of an item excludes the structures of a task."""
        labels = item.get(LABELS) or {}
        return any(labels.get(other) in classes for other, classes in self._absent.get(task.name, {}).items())

    @torch.no_grad()
    def _predict(self, image: MetaTensor, tasks: Mapping[str, SegmentationTask]) -> dict[str, Tensor]:
        """Returns {structure: bool (H, W)} in the pixels of the source image."""
        to_source = as_affine(image.meta[MetaKey.TO_SOURCE])
        rows, columns = (int(length) for length in image.meta[MetaKey.SOURCE_SHAPE])
        outputs = self.network(image.as_tensor()[None].to(self._device))
        found: dict[str, Tensor] = {}
        for task in {task.name: task for task in tasks.values()}.values():
            probs = restore_masks(task.activate(outputs[task.name])[0].cpu(), to_source, (rows, columns))
            found |= dict(zip(task.structures, task.masks(probs), strict=True))
        return {name: found[name] for name in tasks}


def _write_mask(mask: Tensor, path: Path) -> None:
    """Writes a mask bool (H, W) as an image of 0 and 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(mask.to(torch.uint8).mul(255).numpy())
    write_atomically(path, lambda file: picture.save(file, format="PNG"))


def _describe(items: Sequence[Item], name: str) -> str:
    """Returns how many images have a mask, and of how many it is predicted."""
    masks = [item for item in items if (item.get(MASKS) or {}).get(name) is not None]
    predicted = sum(name in (item.get(COMPLETED) or ()) for item in masks)
    return f"{len(masks)} of {len(items)} images have a mask, {predicted} of them a predicted one"
