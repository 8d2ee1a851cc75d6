"""A lazy dataset that checks all labels before training starts and skips unreadable images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    """Loads images on access and caches the result of the deterministic transforms.

    No pixel data is read on construction. All labels, boxes and masks are checked against the tasks of the
    `LoadTargetsd` among the transforms and against the file headers, with the same code as `datalist check`. If any are
    wrong, an error that lists all of them is raised before the run starts. Missing images are skipped.

    An image that turns out to be unreadable when it is accessed is also skipped, without changing the length of the
    dataset or the order of the other images: it is replaced by a placeholder with a black image, NaN targets (not
    annotated) and an empty file name. A placeholder contributes to no loss, gradient or metric, and inference writes no
    output for it. Whether an image is skipped depends only on its file, so that batches do not depend on the number of
    workers, and are the same after resuming.

    Args:
        data: datalist items with absolute paths.
        transform: composed transforms; the result before the first random transform is cached.
        cache: 'none' prepares each image on every access; 'memory' caches it for this run; 'disk' caches it in
            `cache_dir` for later runs, as long as the image, its annotations, the transforms and the code do not
            change.
        cache_dir: folder of the disk cache, and of the image sizes, which are then read only once.
        on_unreadable: 'skip' skips images that are missing, damaged or rejected; 'raise' raises an error.
        on_wrong_label: 'raise' raises an error for invalid annotations; 'skip' skips their images.
        on_unused_label: 'raise' raises an error for annotations that no task uses; 'ignore' logs their number.
        report: path of a JSON file that lists the skipped images.
        num_workers: number of threads that check the items on construction; for files on a network drive, more
            threads than CPU cores are useful.

    Attributes:
        data: the items that were not skipped on construction.
        on_prepared: if set, called with the index of an item and the item after the deterministic transforms; returns
            the item for the random transforms. Use it for labels that change during a training, which are not cached.

    Raises:
        ValueError: a policy is 'raise' and applies, or no image can be read.
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
        self.on_prepared: Callable[[int, dict[str, Any]], dict[str, Any]] | None = None
        self.set_data(data)

    @property
    def skipped(self) -> list[dict[str, str]]:
        """`{"image", "kind", "problem"}` for each image skipped so far."""
        return self._skipped.listed()

    def prepared(self, index: int) -> dict[str, Any] | None:
        """Returns an item after the deterministic transforms; None if its image is unreadable."""
        return self._prepare_or_skip(index)

    def set_data(self, data: Sequence[dict[str, Any]]) -> None:
        """Replaces the items, checks them, and removes those to be skipped."""
        items = list(data)
        deterministic = self.transform.transforms[: self._first_random]
        how = [self.transform.map_items, self.transform.unpack_items, self.transform.lazy, self.transform.overrides]
        self._fingerprint, self._template = fingerprint_transforms([*deterministic, how]), None
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
        """Returns the findings for each item, except those that a policy ignores."""
        loaders = find_loaders(self.transform.flatten().transforms)
        if not loaders.encodes_targets:  # inference: labels are not used, so only check that the images exist
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
            return sorted(found, key=lambda each: each.kind)  # wrong annotations before unreadable files

        with ThreadPool(max(1, self._num_threads)) as pool:
            return pool.map(examine, items)

    def _check_unused(self, items: Sequence[dict[str, Any]], known: Vocabulary) -> None:
        """Raises or logs annotations whose names no task uses."""
        unused = [f"{name}: {count:,} images" for name, count in count_unused(items, known).items()]
        if unused and self._on_unused_label == "raise":
            raise ValueError(
                f"no task uses these annotations:\n{list_some(unused)}\nrename them in the datalist, add a task to "
                "the config, or ignore them with on_unused_label='ignore'."
            )
        if unused:
            logger.warning("No task uses these annotations, which are ignored:\n%s", list_some(unused))

    def _transform(self, index: int) -> Any:
        """Returns one item, or a placeholder if its image is unreadable (see the class)."""
        prepared = self._prepare_or_skip(index)
        if prepared is not None:
            return self._finish(index, prepared)
        placeholder = self._finish(index, _blank(self._find_template(index), self.data[index]))
        return _blank(placeholder, self.data[index])  # blank it again, since random transforms may have changed it

    def _finish(self, index: int, item: dict[str, Any]) -> Any:
        """Applies `on_prepared` and the transforms from the first random one on."""
        if self.on_prepared is not None:
            item = self.on_prepared(index, item)
        return item if self._first_random is None else self.transform(item, start=self._first_random)

    def _prepare_or_skip(self, index: int) -> dict[str, Any] | None:
        """Applies the deterministic transforms to an item; records the item and returns None if it is skipped."""
        try:
            return self._prepare(self.data[index])
        except (RuntimeError, ValueError, OSError) as error:
            kind, cause = _kind_of(error)
            if kind is None or cause is None:
                raise
            if self._policies[kind] == "raise":
                remedy = {UNREADABLE: "on_unreadable", ANNOTATION: "on_wrong_label"}[kind]
                raise ValueError(f"{cause} Fix it, or train without this image with {remedy}='skip'.") from error
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
        """Returns the next readable item after the deterministic transforms, which provides the shapes."""
        if self._template is None:
            others = ((index + step) % len(self.data) for step in range(1, len(self.data)))
            prepared = (self._prepare_or_skip(other) for other in others)
            self._template = next((each for each in prepared if each is not None), None)
        if self._template is None:
            problem = self._skipped.listed()[0]["problem"]
            raise ValueError(f"none of the {len(self.data)} images can be read; the first: {problem}")
        return self._template


def is_placeholder(item: Mapping[str, Any]) -> bool:
    """Returns whether a loaded item is the placeholder of an unreadable image."""
    return getattr(item.get(IMAGE), "meta", {}).get(MetaKey.FILENAME, None) == ""


def _is_random(transform: Any) -> bool:
    return isinstance(transform, RandomizableTrait) or not isinstance(transform, Transform)


def _raise_all(items: Sequence[dict[str, Any]], findings: Sequence[Sequence[Finding]], kind: Kind) -> None:
    """Raises one error that lists all findings of a kind."""
    lines = [
        f"{_name(item)}: {finding.text}"
        for item, found in zip(items, findings, strict=True)
        for finding in found
        if finding.kind == kind
    ]
    if lines and kind == ANNOTATION:
        raise ValueError(
            f"wrong annotations: {len(lines):,}\n{list_some(lines)}\nFix the datalist (mtmedformer datalist check "
            "lists all problems), or train without these images with on_wrong_label='skip'."
        )
    if lines:
        raise ValueError(
            f"unreadable files: {len(lines):,}\n{list_some(lines)}\nFix or remove them, or train without "
            "these images with on_unreadable='skip'."
        )


def _record(index: int, item: Any, finding: Finding) -> dict[str, Any]:
    image = str(item.get(IMAGE, "")) if isinstance(item, Mapping) else ""
    return {"index": index, "image": image, "kind": finding.kind, "problem": finding.text}


def _name(item: Any) -> str:
    path = path_of_image(item) if isinstance(item, Mapping) else None
    return path.name if path is not None else "an item without a file"


def _files_of(item: Mapping[str, Any]) -> list[Path]:
    """Returns the files of an item: its image, masks, label map, and others that its values name."""
    image = path_of_image(item)
    annotations = [item.get(LABEL_MAP), *(item.get(MASKS) or {}).values()]
    known = [image, *(each for each in annotations if isinstance(each, (str, Path)))]
    paths = [Path(each) for each in known if each is not None]
    others = [Path(each) for each in item.values() if isinstance(each, (str, Path)) and Path(each).is_absolute()]
    pairs = [path.with_suffix(".img") for path in paths if path.suffix.lower() == ".hdr"]
    return [*paths, *(path for path in others + pairs if path.is_file() and path not in paths)]


def _blank(loaded: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a placeholder: a black image and NaN targets with the shapes of `loaded`, and the text of `item`."""
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
    """Classifies an error raised while loading; None for an error in the code or config."""
    for cause in _causes(error):
        if isinstance(cause, (RadiographError, OSError)):
            return UNREADABLE, cause
        if isinstance(cause, AnnotationError):
            return ANNOTATION, cause
    return None, None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields the error and its chain of causes, outermost first; MONAI wraps errors of transforms in RuntimeError."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
