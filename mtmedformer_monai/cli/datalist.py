"""The commands `mtmedformer datalist ...`: thin, with imports only where a command needs them."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

logger = logging.getLogger("mtmedformer")


def add_datalist_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `datalist convert`, `check`, `summarize`, `split` and `join` to the command line."""
    group = commands.add_parser(
        "datalist",
        help="make, join, split, check and summarize datalists",
        description="A datalist is one JSON file: lists training, validation and test of images and annotations.",
        epilog=_describe_sets(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tools = group.add_subparsers(required=True, metavar="TOOL")
    _add_convert(tools)
    _add_check(tools)
    _add_summarize(tools)
    _add_split(tools)
    _add_join(tools)


def _describe_sets() -> str:
    """The sets by bundle, each with its tasks; * marks those that the bundle lacks."""
    from mtmedformer_monai.data.public.converters import CONVERTERS
    from mtmedformer_monai.data.public.task_classes import BUNDLE_TASKS

    lines = ["public sets that `convert` knows (what folder it expects: see mtmedformer_monai/data/NAME.py):"]
    for bundle, known in BUNDLE_TASKS.items():
        lines.append(f"\n {bundle}, tasks {', '.join(known)}")
        for name, entry in CONVERTERS.items():
            if entry.bundle == bundle:
                tasks = ", ".join(task if task in known else f"{task}*" for task in entry.tasks)
                lines.append(f"  {name:<16} {entry.description}\n{'':<19}tasks {tasks}; licence {entry.licence}")
    return "\n".join([*lines, "", " * no task of the bundle: to train on it, add it to the tasks in its config"])


def _add_convert(tools: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    tool = tools.add_parser("convert", help="make the datalist of a public set that was downloaded")
    tool.add_argument("name", metavar="NAME", help="of the set; see mtmedformer datalist --help")
    tool.add_argument("folder", metavar="FOLDER", type=Path, help="where the set was unpacked")
    tool.add_argument("output", metavar="OUTPUT", type=Path, help="datalist to write, or a folder for datalist.json")
    tool.set_defaults(run=_convert)


def _convert(options: argparse.Namespace) -> int:
    from mtmedformer_monai.data import convert_dataset

    return _tell(convert_dataset(options.name, options.folder, options.output))


def _add_check(tools: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    tool = tools.add_parser("check", help="list all that is wrong with a datalist; exit code 1 if anything is")
    tool.add_argument("datalist", metavar="DATALIST", type=Path)
    tool.add_argument("--bundle", type=Path, help="check against the tasks and transforms in its configs/train.json")
    tool.add_argument("--headers-only", action="store_true", help="quicker: damaged pixels are not found")
    tool.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    from mtmedformer_monai.data import check_datalist

    known = read_vocabulary(options.bundle) if options.bundle is not None else {}
    problems = check_datalist(options.datalist, decode=not options.headers_only, **known)
    for problem in problems:
        logger.info("%s", problem)
    logger.info("%d problems in %s", len(problems), options.datalist)
    return int(bool(problems))


def read_vocabulary(bundle: Path) -> dict[str, Any]:
    """How a bundle's training loads images and labels, as arguments of `check_datalist`.

    Args:
        bundle: folder with `configs/train.json`, which has `tasks` and, unless the default settings will do,
            `train#deterministic_transforms`.

    Returns:
        `transforms`.

    Raises:
        FileNotFoundError: no such config.
        ValueError: it lists no tasks.
    """
    path = bundle / "configs" / "train.json"
    if not path.is_file():
        raise FileNotFoundError(f"no config at {path}; name a bundle's folder with --bundle.")
    config = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(config.get("tasks"), list):
        raise ValueError(f"{path} expects a list of tasks under 'tasks'; leave --bundle out to check files alone.")
    return {"transforms": _read_transforms(config)}


def _read_transforms(config: dict[str, Any]) -> list[Any]:
    """The deterministic transforms of a training's config."""
    from monai.bundle import ConfigParser

    from mtmedformer_monai.transforms import LoadRadiographd, LoadTargetsd

    parser = ConfigParser(config)
    if "deterministic_transforms" in config.get("train", {}):
        transforms: list[Any] = parser.get_parsed_content("train#deterministic_transforms")
        return transforms
    return [LoadRadiographd("image"), LoadTargetsd(parser.get_parsed_content("tasks"))]


def _add_summarize(tools: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    tool = tools.add_parser("summarize", help="count images, patients, studies, sites and annotations by section")
    tool.add_argument("datalist", metavar="DATALIST", type=Path)
    tool.set_defaults(run=_summarize)


def _summarize(options: argparse.Namespace) -> int:
    from mtmedformer_monai.data import summarize_datalist

    logger.info("%s", summarize_datalist(options.datalist))
    return 0


def _add_split(tools: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    tool = tools.add_parser("split", help="split all items of a datalist anew, by patient")
    tool.add_argument("datalist", metavar="DATALIST", type=Path)
    tool.add_argument("output", metavar="OUTPUT", type=Path, help="datalist to write, or a folder for datalist.json")
    tool.add_argument("--training", type=float, default=0.7, help="fraction of the images (default 0.7)")
    tool.add_argument("--validation", type=float, default=0.15, help="fraction of the images (default 0.15)")
    tool.add_argument("--test", type=float, default=0.15, help="fraction of the images (default 0.15)")
    tool.add_argument("--seed", type=int, default=0)
    tool.add_argument("--stratify-on", metavar="TASK", help="label whose classes every section gets its share of")
    tool.set_defaults(run=_split)


def _split(options: argparse.Namespace) -> int:
    from mtmedformer_monai.data.split import split_datalist

    fractions = {name: getattr(options, name) for name in ("training", "validation", "test")}
    return _tell(
        split_datalist(options.datalist, options.output, fractions, seed=options.seed, stratify_on=options.stratify_on)
    )


def _add_join(tools: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    tool = tools.add_parser("join", help="join datalists of several sets or sites into one")
    tool.add_argument("output", metavar="OUTPUT", type=Path, help="datalist to write, or a folder for datalist.json")
    tool.add_argument("datalists", metavar="[SITE=]DATALIST", nargs="+", help="SITE names the items that name no site")
    tool.set_defaults(run=_join)


def _join(options: argparse.Namespace) -> int:
    from mtmedformer_monai.data import join_datalists

    named = [("", "", path) if Path(path).is_file() else path.rpartition("=") for path in options.datalists]
    sites = {site: path for site, _, path in named if site}
    if not sites:
        return _tell(join_datalists(options.datalists, options.output))
    if len(sites) < len(named):
        raise ValueError("join expects SITE=DATALIST for all datalists, each site once, or for none; name the rest.")
    return _tell(join_datalists(sites, options.output))


def _tell(path: Path) -> int:
    from mtmedformer_monai.data import summarize_datalist

    logger.info("datalist: %s\n%s", path, summarize_datalist(path))
    return 0
