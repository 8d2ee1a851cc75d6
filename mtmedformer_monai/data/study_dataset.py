"""Groups the images of a study, for networks that fuse views."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mtmedformer_monai.keys import IMAGE, LATERALITY, STUDY_ID, STUDY_VIEWS, VIEW, MetaKey
from mtmedformer_monai.transforms.radiograph_meta import describe_meta
from mtmedformer_monai.transforms.view_names import normalize_laterality, normalize_view

from .datalist import list_some
from .item_problems import num_threads, path_of_image
from .missing import id_text
from .radiograph_dataset import RadiographDataset
from .study_files import read_view_of_file
from .study_problems import study_problems

logger = logging.getLogger(__name__)

CRANIOCAUDAL = ("CC", "XCCL", "XCCM", "FB")
OBLIQUE = ("MLO", "ML", "LM", "LMO", "SIO", "ISO")
"""Views (DICOM CID 4014) that are used in place of a missing screening view."""


class StudyDataset(Dataset[dict[str, Any]]):
    """Groups the images of a dataset by study.

    Each item contains `image`, float32 (V, H, W) in the order of `keys.STUDY_VIEWS`, NaN for missing views; the other
    tensors of the images, stacked to (V, ...), NaN for missing views or annotations; `study_id`; `files`, the file
    names per view; and `sources`, JSON per view with the file's `path` and the output of `describe_meta`.

    Images with the same `study_id` form a study. An image's laterality and view are taken from its item, or else from
    the header of its file. Images without a known view, and further images of the same view, are excluded with a
    warning. No pixel data is read on construction; an image that turns out to be unreadable later counts as a missing
    view.

    Args:
        images: dataset of single images of equal size, such as `RadiographDataset`, with its items in `data`.
        tasks: names of the tensors to stack, which are the names of the image tasks.

    Raises:
        ValueError: no image has a known laterality and view, or a study has images of several patients.
    """

    def __init__(self, images: Any, tasks: Sequence[str] = ()) -> None:
        _check_patients(images.data)
        self.images = images
        self.tasks = list(tasks)
        with ThreadPool(num_threads()) as pool:
            views = pool.map(self._view, range(len(images)))
        self.data = group_studies(images.data, views)
        left_out = len(images.data) - sum(len(study["views"]) for study in self.data)
        if left_out:
            logger.warning(
                "%d images are not used: their view is unknown, or their study has another image of it.", left_out
            )
        if not self.data:
            raise ValueError(
                "no image has a known view; specify `laterality` (L, R) and `view` (CC, MLO) in the datalist."
            )

    def __len__(self) -> int:
        """Returns the number of studies."""
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns one study."""
        study = self.data[index]
        found = {view: self.images[place] for view, place in study["views"].items()}
        any_item = next(iter(found.values()))
        stacked = {key: _stack(found, key) for key in (IMAGE, *self.tasks) if key in any_item}
        if IMAGE in stacked:
            stacked[IMAGE] = stacked[IMAGE][:, 0]
        metas = [found[view][IMAGE].meta if view in found else None for view in STUDY_VIEWS]
        files = [Path(str(meta[MetaKey.FILENAME])).name if meta else "" for meta in metas]
        sources = [_describe_source(meta) if meta and name else "{}" for meta, name in zip(metas, files, strict=True)]
        absent = [not name for name in files]
        for tensor in stacked.values():
            tensor[absent] = torch.nan
        return {**stacked, STUDY_ID: study[STUDY_ID], "files": files, "sources": sources}

    def _view(self, index: int) -> tuple[str, str]:
        """Returns laterality and view of an image, '' if unknown."""
        item = self.images.data[index]
        laterality, view = normalize_laterality(item.get(LATERALITY)), normalize_view(item.get(VIEW))
        if not (laterality and view):
            in_header = self._view_in_header(index)
            laterality, view = laterality or in_header[0], view or in_header[1]
        return laterality, view

    def _view_in_header(self, index: int) -> tuple[str, str]:
        path = path_of_image(self.images.data[index])
        if path is not None:
            return read_view_of_file(path)
        meta = self.images[index][IMAGE].meta
        return meta[MetaKey.LATERALITY], meta[MetaKey.VIEW]


def _check_patients(items: Sequence[Mapping[str, Any]]) -> None:
    """Refuses studies of several patients, as where studies are numbered for each patient anew: views were mixed."""
    mixed = [items[place] for place, _ in study_problems([("", index, item) for index, item in enumerate(items)])]
    if mixed:
        names = list_some([path.name for item in mixed if (path := path_of_image(item)) is not None])
        raise ValueError(
            f"studies have images of several patients; a study belongs to one patient: give each its own {STUDY_ID!r}, "
            f"such as patient/study. The first images of further patients:\n{names}"
        )


def make_study_dataset(
    data: Sequence[dict[str, Any]], transform: Any, tasks: Sequence[str] = (), **reading: Any
) -> StudyDataset:
    """Builds a `StudyDataset` from datalist items, for use in configs.

    Args:
        data: datalist items.
        transform: composed transforms of single images.
        tasks: names of the image tasks; empty if there are no targets.
        reading: further arguments of `RadiographDataset`.
    """
    return StudyDataset(RadiographDataset(data, transform, **reading), tasks)


def name_view(laterality: str, view: str) -> str:
    """Returns the screening view that an image shows or substitutes; '' if there is none.

    Example:
        >>> name_view("R", "CC"), name_view("L", "ML"), name_view("B", "CC")
        ('R_CC', 'L_MLO', '')
    """
    kind = "CC" if view in CRANIOCAUDAL else "MLO" if view in OBLIQUE else ""
    return f"{laterality}_{kind}" if kind and laterality in {"L", "R"} else ""


def group_studies(items: Sequence[Mapping[str, Any]], views: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Groups items into studies, in the order of their first images.

    If several images show the same screening view, the first one is used, but a true screening view replaces a
    substitute.

    Args:
        items: datalist items.
        views: laterality and view of each item.

    Returns:
        [{'study_id': str, 'views': {view: index of the item}}].
    """
    studies: dict[str, dict[str, int]] = {}
    for index, (item, view) in enumerate(zip(items, views, strict=True)):
        study = studies.setdefault(id_text(item.get(STUDY_ID)) or f"image {index}", {})
        place = name_view(*view)
        if place and (place not in study or _is_substitute(views[study[place]]) > _is_substitute(view)):
            study[place] = index
    return [{STUDY_ID: name, "views": study} for name, study in studies.items() if study]


def _describe_source(meta: Mapping[Any, Any]) -> str:
    """Returns JSON text, which can be collated into batches."""
    return json.dumps({"path": str(meta[MetaKey.FILENAME]), **describe_meta(meta)})


def _is_substitute(view: tuple[str, str]) -> bool:
    return name_view(*view) != "_".join(view)


def _stack(found: Mapping[str, Mapping[str, Any]], key: str) -> Tensor:
    """Stacks a tensor of all views to (V, ...), with NaN for missing views."""
    values = {view: torch.as_tensor(item[key]).as_subclass(Tensor).float() for view, item in found.items()}
    missing = torch.full_like(next(iter(values.values())), torch.nan)
    return torch.stack([values.get(view, missing) for view in STUDY_VIEWS])
