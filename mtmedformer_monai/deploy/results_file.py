"""Reads and writes `results.json`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mtmedformer_monai.io.atomic_files import write_atomically

from .results import (
    SCHEMA_VERSION,
    BoxResult,
    ClassResult,
    ImageResult,
    MaskResult,
    Provenance,
    Refusal,
    RunResult,
    StudyResult,
)


def results_to_dict(result: RunResult) -> dict[str, Any]:
    """Returns the content of `results.json` as JSON types, without NaN."""
    text = json.dumps(dataclasses.asdict(result), allow_nan=False)
    content: dict[str, Any] = json.loads(text)
    return content


def write_results(result: RunResult, path: str | Path) -> None:
    """Writes `results.json` atomically."""
    text = json.dumps(results_to_dict(result), indent=2) + "\n"
    write_atomically(path, lambda file: file.write(text.encode("utf-8")))


def read_results(path: str | Path) -> RunResult:
    """Reads `results.json`; unknown fields of a newer minor version are ignored.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not a `results.json` of this major version.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        version = str(content["schema_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a results.json of mtmedformer infer ({type(error).__name__}).") from error
    if version.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise ValueError(
            f"{path} has schema version {version}, expected {SCHEMA_VERSION.partition('.')[0]}.x; "
            "run mtmedformer infer again."
        )
    return _to_run(content)


def _to_run(content: Mapping[str, Any]) -> RunResult:
    return RunResult(
        **_known(RunResult, content)
        | {
            "command": tuple(content["command"]),
            "provenance": Provenance(**_known(Provenance, content["provenance"])),
            "studies": tuple(_to_study(study) for study in content["studies"]),
            "refused": tuple(Refusal(**_known(Refusal, refusal)) for refusal in content.get("refused", ())),
        }
    )


def _to_study(content: Mapping[str, Any]) -> StudyResult:
    classes = {task: _map(_to_class, groups) for task, groups in content.get("classes", {}).items()}
    images = tuple(_to_image(image) for image in content["images"])
    return StudyResult(
        **_known(StudyResult, content)
        | {"images": images, "classes": classes, "notes": tuple(content.get("notes", ()))}
    )


def _to_image(content: Mapping[str, Any]) -> ImageResult:
    spacing = content.get("spacing_mm")
    return ImageResult(
        **_known(ImageResult, content)
        | {
            "size": tuple(content["size"]),
            "spacing_mm": None if spacing is None else tuple(spacing),
            "flags": tuple(content.get("flags", ())),
            "segmentations": _map(_each(MaskResult), content.get("segmentations", {})),
            "boxes": _map(_each(_to_box), content.get("boxes", {})),
            "classes": _map(_to_class, content.get("classes", {})),
            "notes": tuple(content.get("notes", ())),
        }
    )


def _to_box(**content: Any) -> BoxResult:
    size = content.get("size_mm")
    known = _known(BoxResult, content)
    return BoxResult(**known | {"box": tuple(content["box"]), "size_mm": None if size is None else tuple(size)})


def _to_class(content: Mapping[str, Any]) -> ClassResult:
    names = {name: tuple(content.get(name, ())) for name in ("predicted", "flagged")}
    return ClassResult(**_known(ClassResult, content) | names)


def _each(make: Callable[..., Any]) -> Callable[[Any], tuple[Any, ...]]:
    def convert(items: Any) -> tuple[Any, ...]:
        if isinstance(make, type):
            return tuple(make(**_known(make, item)) for item in items)
        return tuple(make(**item) for item in items)

    return convert


def _map(convert: Callable[[Any], Any], items: Mapping[str, Any]) -> dict[str, Any]:
    return {name: convert(value) for name, value in items.items()}


def _known(kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a dataclass that the content has."""
    names = {each.name for each in dataclasses.fields(kind)}
    return {name: value for name, value in content.items() if name in names}
