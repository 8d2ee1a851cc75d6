"""The `mtmedformer datalist` commands. Heavy imports are deferred until a command runs."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from mtmedformer_monai.data.public.converters import CONVERTERS

from .bundle_folders import TRAINING, bundle_help, find_bundles, read_tasks
from .datalist_complete import add_options as add_complete_options
from .help_format import HelpFormatter
from .trusted_bundles import add_trust_option, require_trust

logger = logging.getLogger("mtmedformer")

_Tools: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
_OUTPUT_HELP = "path of the datalist to write (JSON), or a folder in which to write datalist.json"


def add_datalist_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `datalist convert`, `check`, `summarize`, `split`, `join` and `complete` to the command line."""
    group = commands.add_parser(
        "datalist",
        help="create, check, summarize, split, join and complete datalists",
        description="A datalist is a JSON file that lists the images and annotations of the training, validation and "
        "test sections.",
        epilog=_describe_sets(),
        formatter_class=HelpFormatter,
    )
    tools = group.add_subparsers(required=True, metavar="TOOL")
    _add_convert(tools)
    _add_check(tools)
    _add_summarize(tools)
    _add_split(tools)
    _add_join(tools)
    add_complete_options(
        _add_tool(tools, "complete", "give images the masks that they lack, as trained networks predict them"),
        _OUTPUT_HELP,
    )


def _describe_sets() -> str:
    """Describes the supported public datasets, grouped by bundle; * marks tasks that the bundle does not define."""
    bundles = {bundle.name: _task_names(bundle) for bundle in find_bundles()}
    lines = ["public datasets that `convert` supports (expected folder layout: mtmedformer_monai/data/public/NAME.py):"]
    for bundle, known in bundles.items():
        lines.append(f"\n {bundle}, tasks {', '.join(known)}")
        lines += [_describe_set(name, known) for name, entry in CONVERTERS.items() if set(entry.tasks) & set(known)]
    covered = {task for known in bundles.values() for task in known}
    others = [name for name, entry in CONVERTERS.items() if not covered & set(entry.tasks)]
    if others:
        lines += [
            "\n no task in common with these bundles" if bundles else "",
            *(_describe_set(name) for name in others),
        ]
    note = " * not a task of this bundle; to train on it, add it to the tasks in the bundle's config"
    return "\n".join([*lines, "", note])


def _task_names(bundle: Path) -> list[str]:
    """Returns the names of a bundle's tasks, or none if its config is incomplete, so that `--help` still works."""
    try:
        return [task["name"] for task in read_tasks(bundle)]
    except (ValueError, KeyError):
        return []


def _describe_set(name: str, known: Sequence[str] | None = None) -> str:
    entry = CONVERTERS[name]
    tasks = ", ".join(task if known is None or task in known else f"{task}*" for task in entry.tasks)
    return f"  {name:<16} {entry.description}\n{'':<19}tasks {tasks}; license {entry.license}"


def _add_tool(tools: _Tools, name: str, description: str) -> argparse.ArgumentParser:
    return tools.add_parser(name, help=description, description=description, formatter_class=HelpFormatter)


def _add_convert(tools: _Tools) -> None:
    tool = _add_tool(tools, "convert", "create the datalist of a downloaded public dataset")
    tool.add_argument("name", metavar="NAME", help=f"name of the dataset: {', '.join(CONVERTERS)}")
    tool.add_argument("folder", metavar="FOLDER", type=Path, help="folder that contains the unpacked dataset")
    tool.add_argument("output", metavar="OUTPUT", type=Path, help=_OUTPUT_HELP)
    tool.set_defaults(run=_convert)


def _convert(options: argparse.Namespace) -> int:
    from mtmedformer_monai.data import convert_dataset

    return _report(convert_dataset(options.name, options.folder, options.output))


def _add_check(tools: _Tools) -> None:
    tool = _add_tool(tools, "check", "list all problems of a datalist; the exit code is 1 if there are any")
    tool.add_argument("datalist", metavar="DATALIST", type=Path, help="datalist to check (JSON)")
    tool.add_argument(
        "--bundle", metavar="FOLDER", type=Path, help=f"bundle whose tasks the names must match; {bundle_help()}"
    )
    tool.add_argument(
        "--headers-only", action="store_true", help="read headers only; faster, but does not detect damaged pixel data"
    )
    add_trust_option(tool)
    tool.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    from mtmedformer_monai.data import check_datalist

    known = {}
    if options.bundle is not None:
        require_trust(options, [options.bundle / TRAINING])
        known = read_vocabulary(options.bundle)
    problems = check_datalist(options.datalist, decode=not options.headers_only, **known)
    for problem in problems:
        logger.info("%s", problem)
    logger.info("Number of problems in %s: %d", options.datalist, len(problems))
    return int(bool(problems))


def read_vocabulary(bundle: Path) -> dict[str, Any]:
    """Returns the keyword arguments of `check_datalist` that match how a bundle's training loads images and labels.

    Args:
        bundle: folder with `configs/train.json`, which defines `tasks` and optionally
            `train#deterministic_transforms`; otherwise, the default settings are used.

    Returns:
        A dict with the key `transforms`.

    Raises:
        FileNotFoundError: the config does not exist.
        ValueError: the config does not list any tasks.
    """
    read_tasks(bundle)
    config = json.loads((bundle / "configs" / "train.json").read_text(encoding="utf-8"))
    return {"transforms": _read_transforms(config)}


def _read_transforms(config: dict[str, Any]) -> list[Any]:
    """Returns the deterministic transforms of a training config."""
    from monai.bundle import ConfigParser

    from mtmedformer_monai.transforms import LoadRadiographd, LoadTargetsd

    parser = ConfigParser(config)
    if "deterministic_transforms" in config.get("train", {}):
        transforms: list[Any] = parser.get_parsed_content("train#deterministic_transforms")
        return transforms
    return [LoadRadiographd("image"), LoadTargetsd(parser.get_parsed_content("tasks"))]


def _add_summarize(tools: _Tools) -> None:
    tool = _add_tool(tools, "summarize", "count images, patients, studies, sites and annotations per section")
    tool.add_argument("datalist", metavar="DATALIST", type=Path, help="datalist to summarize (JSON)")
    tool.set_defaults(run=_summarize)


def _summarize(options: argparse.Namespace) -> int:
    from mtmedformer_monai.data import summarize_datalist

    logger.info("%s", summarize_datalist(options.datalist))
    return 0


def _add_split(tools: _Tools) -> None:
    tool = _add_tool(tools, "split", "split all items of a datalist again, by patient")
    tool.add_argument("datalist", metavar="DATALIST", type=Path, help="datalist to split (JSON)")
    tool.add_argument("output", metavar="OUTPUT", type=Path, help=_OUTPUT_HELP)
    for section, default in (("training", 0.7), ("validation", 0.15), ("test", 0.15)):
        help_text = f"fraction of the images in the {section} section, 0 to 1"
        tool.add_argument(f"--{section}", metavar="FRACTION", type=float, default=default, help=help_text)
    tool.add_argument("--seed", metavar="N", type=int, default=0, help="random seed of the shuffle")
    tool.add_argument(
        "--stratify-on", metavar="TASK", help="classification task whose class frequencies are kept in all sections"
    )
    tool.set_defaults(run=_split)


def _split(options: argparse.Namespace) -> int:
    from mtmedformer_monai.data.split import split_datalist

    fractions = {name: getattr(options, name) for name in ("training", "validation", "test")}
    return _report(
        split_datalist(options.datalist, options.output, fractions, seed=options.seed, stratify_on=options.stratify_on)
    )


def _add_join(tools: _Tools) -> None:
    tool = _add_tool(tools, "join", "join the datalists of several datasets or sites")
    tool.add_argument("output", metavar="OUTPUT", type=Path, help=_OUTPUT_HELP)
    tool.add_argument(
        "datalists", metavar="[SITE=]DATALIST", nargs="+", help="datalists to join; items without a site get SITE"
    )
    tool.set_defaults(run=_join)


def _join(options: argparse.Namespace) -> int:
    from mtmedformer_monai.data import join_datalists

    named = [("", "", path) if Path(path).is_file() else path.rpartition("=") for path in options.datalists]
    sites = {site: path for site, _, path in named if site}
    if not sites:
        return _report(join_datalists(options.datalists, options.output))
    if len(sites) < len(named):
        raise ValueError(
            "join expects SITE=DATALIST for all datalists, each site once, or for none; add the missing sites."
        )
    return _report(join_datalists(sites, options.output))


def _report(path: Path) -> int:
    from mtmedformer_monai.data import summarize_datalist

    logger.info("datalist: %s\n%s", path, summarize_datalist(path))
    return 0
