"""A lazy dataset that checks labels before a training starts, and skips images that cannot be read."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import torch
from monai.data import Dataset, MetaTensor
from monai.transforms import Compose, RandomizableTrait, Transform

from mtmedformer_monai.keys import IMAGE, LABEL_MAP, MASKS, MetaKey
from mtmedformer_monai.transforms.errors import AnnotationError, RadiographError

from .datalist import list_some
from .findings import ANNOTATION, UNREADABLE, Finding, Kind
from .fingerprint import fingerprint_item, fingerprint_transforms
from .item_problems import examine_item, path_of_image
from .loaders import find_loaders
from .prepared_cache import NoCache, make_cache
from .size_cache import SizeCache
from .skipped_images import SkippedImages
from .vocabulary import Vocabulary, count_unused, vocabulary_of

logger = logging.getLogger(__name__)


class RadiographDataset(Dataset):
    """Reads images when they are asked for, and keeps what is deterministic of their preparation.

    At the start, no pixel is read. All labels, boxes and masks are checked against the tasks of the `LoadTargetsd`
    among the transforms and against the headers of the files, by the code of `datalist check`; a wrong one stops the
    run before it has begun, with a list of all of them. Images that are missing are skipped.

    An image that proves unreadable when it is asked for is skipped too, without changing the length or the order of the
    others: an item takes its place whose image is black, whose targets are NaN (not annotated) and whose file name is
    empty. It adds nothing to the loss, to a gradient or to a metric, and inference writes nothing for it. Which image
    is skipped depends on its file alone, so batches are the same for any number of workers, and after a resume.

    Args:
        data: items of a datalist, with absolute paths.
        transform: composed; what stands before the first random transform is cached.
        cache: 'none' prepares an image anew each time; 'memory' keeps it for this run; 'disk' keeps it in `cache_dir`
            for later runs too, as long as the image, its annotations, the transforms and the code stay the same.
        cache_dir: folder of the cache on disk, and of the sizes that a second start need not read again.
        on_unreadable: 'skip' goes on without images that are missing, damaged or refused; 'raise' stops.
        on_wrong_label: 'raise' stops where an annotation is wrong; 'skip' goes on without its image.
        on_unused_label: 'raise' stops where an annotation has a name that no task reads; 'ignore' goes on, and counts.
        report: path of a JSON file that lists the skipped images.
        num_workers: threads that examine the items at the start; more than cores pay where files lie on a network.

    Attributes:
        data: the items that were not skipped at the start.

    Raises:
        ValueError: as the three policies say, or no image is left.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        transform: Compose,
        cache: str = "memory",
        cache_dir: str | Path | None = None,
        on_unreadable: str = "skip",
        on_wrong_label: str = "raise",
        on_unused_label: str = "raise",
        report: str | Path | None = None,
        num_workers: int = 8,
    ) -> None:
        for name, value, choices in (
            ("on_unreadable", on_unreadable, ("skip", "raise")),
            ("on_wrong_label", on_wrong_label, ("raise", "skip")),
            ("on_unused_label", on_unused_label, ("raise", "ignore")),
        ):
            if value not in choices:
                raise ValueError(f"{name} expects one of {choices}, got {value!r}.")
        super().__init__([], transform)
        self._policies = {UNREADABLE: on_unreadable, ANNOTATION: on_wrong_label}
        self._on_unused_label = on_unused_label
        self._num_threads = num_workers
        self._cache = make_cache(cache, Path(cache_dir) / "prepared" if cache_dir is not None else None)
        self._cache_dir = Path(cache_dir) if cache_dir is not None else None
        self._skipped = SkippedImages(report)
        self._first_random: int | None = self.transform.get_index_of_first(_is_random)
        self._fingerprint = ""
        self._template: dict[str, Any] | None = None
        self.set_data(data)

    @property
    def skipped(self) -> list[dict[str, str]]:
        """`{"image", "kind", "problem"}` of each image that was skipped up to now."""
        return self._skipped.listed()

    def set_data(self, data: Sequence[dict[str, Any]]) -> None:
        """Takes other items, checks them, and drops those that are skipped."""
        items = list(data)
        deterministic = self.transform.transforms[: self._first_random]
        self._fingerprint, self._template = fingerprint_transforms(deterministic), None
        findings = self._examine(items)
        for kind in (ANNOTATION, UNREADABLE):
            if self._policies[kind] == "raise":
                _raise_all(items, findings, kind)
        skipped = {index: found[0] for index, found in enumerate(findings) if found}
        self._skipped.restart([_record(index, items[index], finding) for index, finding in skipped.items()])
        self._places = [index for index in range(len(items)) if index not in skipped]
        self.data = [items[index] for index in self._places]
        if skipped:
            lines = [f"{_name(items[index])}: {finding.text}" for index, finding in skipped.items()]
            logger.warning("%d of %d images are skipped:\n%s", len(skipped), len(items), list_some(lines))
        if items and not self.data:
            raise ValueError(f"none of the {len(items)} images can be read; the first: {skipped[0].text}")

    def _examine(self, items: Sequence[dict[str, Any]]) -> list[list[Finding]]:
        """What is wrong with each item, without what a policy ignores."""
        loaders = find_loaders(self.transform.flatten().transforms)
        if not loaders.encodes_targets:  # inference: no label is read, and existence alone is checked
            plain = [{key: item[key] for key in (IMAGE,) if key in item} for item in items]
            return self._examine_all(plain, Vocabulary(), SizeCache(None))
        known = vocabulary_of(loaders.tasks)
        self._check_unused(items, known)
        sizes = SizeCache(self._cache_dir / "sizes.json" if self._cache_dir is not None else None)
        found = self._examine_all(items, known, sizes)
        sizes.save()
        return found

    def _examine_all(self, items: Sequence[Any], known: Vocabulary, sizes: SizeCache) -> list[list[Finding]]:
        def examine(item: Any) -> list[Finding]:
            found = [each for each in examine_item(item, known, sizes.read) if each.kind in self._policies]
            return sorted(found, key=lambda each: each.kind)  # what is wrong comes before what is unreadable

        with ThreadPool(max(1, self._num_threads)) as pool:
            return pool.map(examine, items)

    def _check_unused(self, items: Sequence[dict[str, Any]], known: Vocabulary) -> None:
        """Annotations under names that no task reads."""
        unused = [f"{name}: {count:,} images" for name, count in count_unused(items, known).items()]
        if unused and self._on_unused_label == "raise":
            raise ValueError(
                f"no task reads these annotations:\n{list_some(unused)}\nrename them in the datalist, add a task to "
                "the config, or ignore them with on_unused_label='ignore'."
            )
        if unused:
            logger.warning("No task reads these annotations, which are ignored:\n%s", list_some(unused))

    def _transform(self, index: int) -> Any:
        """One item; see the class for what stands in for an unreadable one."""
        prepared = self._prepare_or_skip(index)
        if prepared is not None:
            return self._finish(prepared)
        stand_in = self._finish(_blank(self._find_template(index), self.data[index]))
        return _blank(stand_in, self.data[index])  # once more, as random transforms may have drawn on it

    def _finish(self, item: dict[str, Any]) -> Any:
        """Applies the transforms from the first random one on."""
        return item if self._first_random is None else self.transform(item, start=self._first_random)

    def _prepare_or_skip(self, index: int) -> dict[str, Any] | None:
        """The deterministic part of an item; None, and a record, where it is skipped."""
        try:
            return self._prepare(self.data[index])
        except (RuntimeError, ValueError, OSError) as error:
            kind, cause = _kind_of(error)
            if kind is None or cause is None:
                raise
            if self._policies[kind] == "raise":
                remedy = {UNREADABLE: "on_unreadable", ANNOTATION: "on_wrong_label"}[kind]
                raise ValueError(f"{cause} Mend it, or train without this image with {remedy}='skip'.") from error
            self._skipped.add(self._places[index], str(self.data[index].get(IMAGE, "")), kind, str(cause))
            return None

    def _prepare(self, item: dict[str, Any]) -> dict[str, Any]:
        if isinstance(self._cache, NoCache):
            return dict(self.transform(dict(item), end=self._first_random))
        key = f"{self._fingerprint[:24]}{fingerprint_item(item, _files_of(item))[:40]}"
        kept = self._cache.load(key)
        if kept is not None:
            return kept
        prepared: dict[str, Any] = self.transform(dict(item), end=self._first_random)
        self._cache.save(key, prepared)
        return prepared

    def _find_template(self, index: int) -> dict[str, Any]:
        """The deterministic part of the next item that can be read, for its shapes."""
        if self._template is None:
            others = ((index + step) % len(self.data) for step in range(1, len(self.data)))
            prepared = (self._prepare_or_skip(other) for other in others)
            self._template = next((each for each in prepared if each is not None), None)
        if self._template is None:
            problem = self._skipped.listed()[0]["problem"]
            raise ValueError(f"none of the {len(self.data)} images can be read; the first: {problem}")
        return self._template


def is_stand_in(item: Mapping[str, Any]) -> bool:
    """Whether a loaded item stands in for an image that could not be read."""
    return getattr(item.get(IMAGE), "meta", {}).get(MetaKey.FILENAME, None) == ""


def _is_random(transform: Any) -> bool:
    return isinstance(transform, RandomizableTrait) or not isinstance(transform, Transform)


def _raise_all(items: Sequence[dict[str, Any]], findings: Sequence[Sequence[Finding]], kind: Kind) -> None:
    """One error with all findings of a kind."""
    lines = [
        f"{_name(item)}: {finding.text}"
        for item, found in zip(items, findings, strict=True)
        for finding in found
        if finding.kind == kind
    ]
    if lines and kind == ANNOTATION:
        raise ValueError(
            f"{len(lines):,} annotations are wrong:\n{list_some(lines)}\nmend the datalist (mtmedformer datalist check "
            "lists all), or train without these images with on_wrong_label='skip'."
        )
    if lines:
        raise ValueError(
            f"{len(lines):,} files cannot be read:\n{list_some(lines)}\nmend or remove them, or train without "
            "these images with on_unreadable='skip'."
        )


def _record(index: int, item: Any, finding: Finding) -> dict[str, Any]:
    image = str(item.get(IMAGE, "")) if isinstance(item, Mapping) else ""
    return {"index": index, "image": image, "kind": finding.kind, "problem": finding.text}


def _name(item: Any) -> str:
    path = path_of_image(item) if isinstance(item, Mapping) else None
    return path.name if path is not None else "an item without a file"


def _files_of(item: Mapping[str, Any]) -> list[Path]:
    """Files that an item is read from."""
    image = path_of_image(item)
    annotations = [item.get(LABEL_MAP), *(item.get(MASKS) or {}).values()]
    paths = [Path(each) for each in annotations if isinstance(each, (str, Path))]
    return [image, *paths] if image is not None else paths


def _blank(loaded: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    """A loaded item of the same shapes, black and not annotated, with the text of another."""
    blank: dict[str, Any] = {}
    for key, value in loaded.items():
        if isinstance(value, str):
            blank[key] = str(item.get(key) or "")
        elif key == IMAGE or not isinstance(value, torch.Tensor) or not value.is_floating_point():
            blank[key] = torch.zeros_like(value) if isinstance(value, torch.Tensor) else item.get(key, value)
        else:
            blank[key] = torch.full_like(value, torch.nan)
    image = loaded.get(IMAGE)
    if isinstance(image, MetaTensor):
        meta = {**image.meta, MetaKey.FILENAME: ""}
        blank[IMAGE] = MetaTensor(torch.zeros_like(image.as_tensor()), meta=meta)
    return blank


def _kind_of(error: BaseException) -> tuple[Kind | None, BaseException | None]:
    """What an error while loading stands for; None for a mistake in code or config."""
    for cause in _causes(error):
        if isinstance(cause, (RadiographError, OSError)):
            return UNREADABLE, cause
        if isinstance(cause, AnnotationError):
            return ANNOTATION, cause
    return None, None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from, outermost first; MONAI wraps those of transforms in RuntimeError."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
