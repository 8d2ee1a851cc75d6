"""Shows what code the configurations of a bundle would run, without running any of it."""

from __future__ import annotations

import ast
import configparser
import importlib
import importlib.util
import inspect
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtmedformer_monai.io.file_sha256 import file_sha256

from .expression_check import RELATIVE, is_harmless

TARGETS = frozenset({
    "Compose", "DataLoader", "DistributedSampler", "LrScheduleHandler", "SimpleInferer", "SlidingWindowInferer",
    "StatsHandler", "SupervisedEvaluator", "SupervisedTrainer", "ValidationHandler", "CheckpointLoader",
    "monai.handlers.CheckpointLoader", "ignite.metrics.Average", "ignite.metrics.Frequency", "torch.optim.AdamW",
    "torch.optim.Adam", "torch.optim.SGD", "torch.nn.parallel.DistributedDataParallel",
    "mtmedformer_monai.io.sqlite_uri.sqlite_uri", "mtmedformer_monai.federated.client.class_union.restrict_tasks",
})  # fmt: skip
"""Components of other packages, and single ones of this package, that a configuration may name."""

PACKAGES = frozenset({"data", "engines", "losses", "metrics", "networks", "tasks", "transforms", "uncertainty"})
"""Packages of `mtmedformer_monai` whose classes and functions a configuration may name."""

_ROOT = "mtmedformer_monai"
_CONFIGS = (".json", ".yaml", ".yml")
_CODE = (".py", ".pyc", ".so", ".pyd", ".dll", ".sh", ".ts")
_OTHER_FILE = re.compile(r"%.*\.(json|ya?ml)\b", re.IGNORECASE | re.DOTALL)
_WEIGHTS = ("*.pt", "*.pth", "*.ckpt", "*.onnx", "*.pkl")


@dataclass(frozen=True)
class ForeignCode:
    """Code that is not on the allow-list.

    Attributes:
        file: path relative to the bundle.
        place: id of the entry in the configuration, or ''.
        kind: 'component' (`_target_`), 'expression' (`$`), 'other file' (`%file`), 'script', 'link' or 'unreadable'.
        text: the code, the name of the component, or where a link leads.
    """

    file: str
    place: str
    kind: str
    text: str


@dataclass(frozen=True)
class Inspection:
    """What a bundle consists of.

    Attributes:
        sha256: hash of its configuration, as in `results.json`.
        weights: {file: SHA-256} of its weights.
        num_components: number of components that its configurations name.
        foreign: code outside of the allow-list, in all configurations.
    """

    sha256: str
    weights: dict[str, str]
    num_components: int
    foreign: tuple[ForeignCode, ...]


class UntrustedBundleError(ValueError):
    """A bundle would run code that is not on the allow-list."""


def inspect_bundle(bundle: Path) -> Inspection:
    """Inspects all files of a bundle.

    Raises:
        FileNotFoundError: there is no folder of configurations.
    """
    from mtmedformer_monai.deploy.bundle_model import hash_bundle

    if not (bundle / "configs").is_dir():
        raise FileNotFoundError(f"--bundle expects a folder with configs, found none at {bundle}.")
    configs = sorted(path for path in bundle.rglob("*") if path.is_file() and path.suffix.lower() in _CONFIGS)
    foreign = [code for path in configs for code in find_foreign(path, bundle, references=True)]
    for path in sorted(bundle.rglob("*")):
        if path.is_symlink():  # `rglob` does not look behind one to a folder
            foreign.append(ForeignCode(_relative(path, bundle), "", "link", str(path.readlink())))
        if path.is_file() and path.suffix.lower() in _CODE:
            foreign.append(ForeignCode(_relative(path, bundle), "", "script", f"SHA-256 {file_sha256(path)}"))
        elif path.name == "logging.conf":
            foreign += _check_logging(path, bundle)
    weights = {_relative(path, bundle): file_sha256(path) for kind in _WEIGHTS for path in sorted(bundle.rglob(kind))}
    components = sum(1 for path in configs for _, key, _ in _walk(_read(path)) if key == "_target_")
    return Inspection(hash_bundle(bundle), weights, components, tuple(foreign))


def check_trusted(bundle: Path, configs: Sequence[Path]) -> None:
    """Refuses configurations that would run foreign code; those that do not exist are left to the caller.

    Args:
        bundle: the bundle's folder, for the messages.
        configs: all configurations that are going to be used.

    Raises:
        UntrustedBundleError: a component or expression is not on the allow-list; the message shows the first one.
    """
    foreign = [code for path in configs if path.is_file() for code in find_foreign(path, bundle)]
    if not foreign:
        return
    first = foreign[0]
    raise UntrustedBundleError(
        f"{first.file} would run code from elsewhere, {len(foreign)} in all, such as the {first.kind} "
        f"{shown(first.text)} ({first.place}); see mtmedformer inspect --bundle {bundle}, and add --trust if you trust "
        "its author."
    )


def find_foreign(path: Path, bundle: Path, references: bool = False) -> list[ForeignCode]:
    """Lists the code of one configuration file that is not on the allow-list.

    Args:
        path: the file.
        bundle: the bundle's folder.
        references: whether a component may be a reference to another component of the same file. Configurations that
            are merged could replace it by a text such as 'os.system', so this is for display only.
    """
    name = _relative(path, bundle)
    try:
        content = _read(path)
    except (ValueError, OSError, RecursionError) as error:
        return [ForeignCode(name, "", "unreadable", type(error).__name__)]
    found = []
    for place, key, value in _walk(content):
        kind = _kind_of_code(key, value)
        if kind and not (references and kind == "component" and _refers_to_component(value, content)):
            found.append(ForeignCode(name, place, kind, str(value)))
    return found


def shown(text: str) -> str:
    """Returns code for a message or a terminal: one line, printable, cut."""
    line = " ".join(text.split())
    return repr(line if len(line) <= 200 else f"{line[:200]} ...")


def _kind_of_code(key: str, value: Any) -> str:
    if key == "_target_":
        return "" if isinstance(value, str) and _is_known(value) else "component"
    if not isinstance(value, str):
        return ""
    text = value.lstrip()
    if _OTHER_FILE.match(text) or (text.startswith("%") and RELATIVE.search(text)):
        return "other file"
    if text.startswith("$"):
        return "" if is_harmless(text[1:]) else "expression"
    return ""


def _refers_to_component(value: Any, content: Any) -> bool:
    """Returns whether a value is a reference to an entry of a configuration that is a component on the allow-list."""
    found = content.get(value.removeprefix("@")) if isinstance(value, str) and isinstance(content, dict) else None
    target = found.get("_target_") if isinstance(found, dict) else None
    return isinstance(target, str) and _is_known(target)


def _is_known(target: str) -> bool:
    if target in TARGETS or (target.startswith("%") and target.endswith("#_target_") and not _OTHER_FILE.match(target)):
        return True  # a reference to another component, which is inspected itself
    root, _, rest = target.partition(".")
    if root != _ROOT or rest.partition(".")[0] not in PACKAGES or not all(p.isidentifier() for p in target.split(".")):
        return False
    module, _, name = target.rpartition(".")
    try:
        if name.startswith("_") or importlib.util.find_spec(module) is None:
            return False
        found = getattr(importlib.import_module(module), name, None)
    except (ImportError, ValueError):
        return False
    is_code = inspect.isclass(found) or inspect.isfunction(found)
    return is_code and str(getattr(found, "__module__", "")).partition(".")[0] == _ROOT


def _walk(content: Any, place: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yields (id, last part of the key, value) of all entries; keys may be ids themselves ('network#_target_')."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in pairs:
        here = f"{place}#{key}" if place else str(key)
        last = re.split(r"#|::", str(key))[-1].lstrip("+")
        yield here, last, value
        if str(key).lstrip().startswith("$"):
            yield here, "", str(key)
        yield from _walk(value, here)


def _read(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    if path.suffix.lower() == ".json":
        return json.loads(text)
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError("not YAML") from error


def _check_logging(path: Path, bundle: Path) -> Iterator[ForeignCode]:
    """Checks `args` and `class`, which `logging.config.fileConfig` evaluates as Python code."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (configparser.Error, ValueError) as error:
        yield ForeignCode(_relative(path, bundle), "", "unreadable", type(error).__name__)
        return
    for section in parser.sections():
        for option in ("args", "kwargs", "class"):
            value = parser.get(section, option, fallback="")
            if value and value not in ("(sys.stdout,)", "(sys.stderr,)", "StreamHandler") and not _is_literal(value):
                yield ForeignCode(_relative(path, bundle), f"{section}.{option}", "expression", value)


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False
    return True


def _relative(path: Path, bundle: Path) -> str:
    return path.relative_to(bundle).as_posix() if path.is_relative_to(bundle) else str(path)
