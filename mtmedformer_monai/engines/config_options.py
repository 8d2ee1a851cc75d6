"""Detects mistyped options, because MONAI accepts any config id and silently ignores an unused one."""

from __future__ import annotations

import difflib
import inspect
import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pydoc import locate
from typing import Any

_logger = logging.getLogger(__name__)

_OF_MONAI = frozenset({"tracking_uri", "experiment_name", "run_name", "save_execute_config", "is_not_rank0", "_meta_"})
"""Ids added by MONAI's experiment tracking."""

_ARGUMENTS = ("run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file")
"""Arguments of `python -m monai.bundle run`."""

_SUFFIXES = (".json", ".yaml", ".yml")


@dataclass(frozen=True)
class GivenConfig:
    """Config files and overrides of a run.

    Attributes:
        merged: the whole config, overrides included.
        files: the config without overrides; None if unknown.
        overrides: ids that were overridden; None if unknown.
        ends: ids of the sections that the workflow executes, such as `run` and `initialize`.
    """

    merged: Mapping[str, Any]
    files: Mapping[str, Any] | None
    overrides: Sequence[str] | None
    ends: frozenset[str] = frozenset()


def check_options(bundle_root: str | Path) -> None:
    """Checks the options of the `monai.bundle` run that calls this function from `initialize`.

    It does nothing if it is called outside a bundle run. An override is an error if no config file of the run declares
    it, nothing refers to it, and the component that it is set on does not accept it. An id that only another config of
    the bundle declares has no effect and leads to a warning, as does an undeclared id in the user's own config files
    that resembles one of the bundle's ids.

    Args:
        bundle_root: the bundle's folder, whose `configs` declare the known ids.

    Raises:
        ValueError: if an option is mistyped; the message names the closest known id.
    """
    given = _find_run()
    if given is not None:
        check_config(given, read_known(Path(bundle_root) / "configs"))


def check_config(given: GivenConfig, known: Mapping[str, Any]) -> None:
    """Checks the options of a given config, as `check_options` does.

    Args:
        given: the run's config.
        known: {top-level id: content} of all configs of the bundle, merged.
    """
    declared = {**known, **(given.files or {})}
    for name in given.overrides or ():
        _check_override(name.replace("::", "#"), given, declared, known)
    for name in set(given.merged) - set(known) - set(given.overrides or ()) - _OF_MONAI - given.ends:
        near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.8)
        if near and not _is_referred_to(name, given.merged):
            _logger.warning("Nothing reads the id %r of the config; did you mean %r?", name, near[0])


def check_overrides(names: Iterable[str], files: Sequence[Path], known_in: Path) -> None:
    """Checks the overrides of this package's own commands before a run.

    Args:
        names: ids that are overridden.
        files: the config files of the run.
        known_in: folder with all configs of the bundle.

    Raises:
        ValueError: if an option is mistyped; the message names the closest known id.
    """
    merged = _merge(files)
    check_config(GivenConfig(merged, merged, list(names)), read_known(known_in))


def read_known(folder: Path) -> dict[str, Any]:
    """Returns {top-level id: content} of all configs in a folder, without the metadata."""
    files = sorted(path for path in folder.glob("*") if path.suffix in _SUFFIXES and path.stem != "metadata")
    known: dict[str, Any] = {}
    for file in files:
        content = _load(file)
        known.update({name.lstrip("+"): value for name, value in content.items() if "#" not in name})
    return known


def _check_override(name: str, given: GivenConfig, declared: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    base = given.files if given.files is not None else known
    if name in _OF_MONAI or name in given.ends or _has(base, name) or _is_referred_to(name, given.merged):
        return
    parent, _, last = name.rpartition("#")
    if parent and _takes(_get(given.merged, parent), last):
        return
    if _has(known, name):
        _logger.warning("The option %r has no effect: only another config of the bundle reads it.", name)
        return
    near = _nearest(name, declared)
    remedy = f"did you mean {near!r}?" if near else "see the ids in the bundle's configs."
    raise ValueError(
        f"no option is called {name!r}: nothing reads it; {remedy} Define a new id in a config file of your own."
    )


def _nearest(name: str, declared: Mapping[str, Any]) -> str:
    """Returns the most similar declared id, compared as a whole or by its last part; '' if none is similar."""
    every = list(_ids(declared))
    level = [known for known in every if known.count("#") == name.count("#")]
    near = difflib.get_close_matches(name, [*level, *_ARGUMENTS], n=1, cutoff=0.6)
    if near:
        return near[0]
    by_last = {known.rpartition("#")[2]: known for known in reversed(every)}
    last = difflib.get_close_matches(name.rpartition("#")[2], list(by_last), n=1, cutoff=0.75)
    return by_last[last[0]] if last else ""


def _ids(config: Any, prefix: str = "") -> Iterator[str]:
    """Yields all ids of the config's nested dicts."""
    if not isinstance(config, Mapping):
        return
    for name, value in config.items():
        if not str(name).startswith("_"):
            yield f"{prefix}{name}"
            yield from _ids(value, f"{prefix}{name}#")


def _get(config: Any, name: str) -> Any:
    """Returns the value at an id, or None if there is none."""
    for part in name.split("#"):
        if isinstance(config, Mapping) and part in config:
            config = config[part]
        elif (
            isinstance(config, Sequence) and not isinstance(config, str) and part.isdigit() and int(part) < len(config)
        ):
            config = config[int(part)]
        else:
            return None
    return config


def _has(config: Any, name: str) -> bool:
    parent, _, last = name.rpartition("#")
    holder = _get(config, parent) if parent else config
    if isinstance(holder, Mapping):
        return last in holder
    return isinstance(holder, Sequence) and last.isdigit()


def _takes(component: Any, argument: str) -> bool:
    """Whether a component accepts an argument or a MONAI key (`_disabled_`, ...); True if this cannot be determined."""
    if not isinstance(component, Mapping) or "_target_" not in component:
        return False
    if argument.startswith("_") and argument.endswith("_"):
        return True
    target = locate(str(component["_target_"]))
    if target is None:
        return True
    try:
        parameters = inspect.signature(target).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return True
    return any(each.name == argument or each.kind is each.VAR_KEYWORD for each in parameters)


def _is_referred_to(name: str, config: Mapping[str, Any]) -> bool:
    pattern = re.compile(rf"[@%]{re.escape(name)}(?!\w)")
    return pattern.search(json.dumps(config, default=str).replace("::", "#")) is not None


def _find_run() -> GivenConfig | None:
    """Finds the calling `monai.bundle` run on the call stack, because MONAI does not pass its config on."""
    from monai.bundle import ConfigWorkflow

    workflow, frame = None, sys._getframe()
    while frame is not None:
        local, code = frame.f_locals, frame.f_code
        if workflow is None and isinstance(local.get("self"), ConfigWorkflow):
            workflow = local["self"]
        elif workflow is not None and code.co_name == "create_workflow" and "_args" in local:
            own = set(inspect.signature(ConfigWorkflow.__init__).parameters)
            files = local.get("config_file")
            overrides = [name for name in local["_args"] if name not in own]
            return GivenConfig(workflow.parser.get(), _merge(files) if files else None, overrides, _ends(workflow))
        frame = frame.f_back  # type: ignore[assignment]
    return None if workflow is None else GivenConfig(workflow.parser.get(), None, None, _ends(workflow))


def _ends(workflow: Any) -> frozenset[str]:
    return frozenset({workflow.init_id, workflow.run_id, workflow.final_id})


def _merge(files: Any) -> Any:
    from monai.bundle import ConfigParser

    return ConfigParser.load_config_files([str(file) for file in files] if isinstance(files, (list, tuple)) else files)


def _load(file: Path) -> dict[str, Any]:
    from monai.bundle import ConfigParser

    return dict(ConfigParser.load_config_file(str(file)))
