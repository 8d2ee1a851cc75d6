"""The `mtmedformer format-bundles` command: formats JSON as the hooks of the MONAI Model Zoo require."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from .bundle_folders import find_bundles
from .help_format import HelpFormatter

logger = logging.getLogger("mtmedformer")


def format_json(text: str) -> str:
    r"""Formats JSON like the pre-commit hook `pretty-format-json --autofix --no-sort-keys --indent=4`.

    Raises:
        ValueError: the text is not valid JSON, or an object has a duplicate key.

    Example:
        >>> format_json('{"b": [1], "a": {}}')
        '{\n    "b": [\n        1\n    ],\n    "a": {}\n}\n'
    """
    return json.dumps(json.loads(text, object_pairs_hook=_unique), indent=4, ensure_ascii=True) + "\n"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"an object has the duplicate keys {twice}; remove one of each.")
    return found


def unformatted(bundle: Path) -> list[Path]:
    """Returns the JSON files of a bundle that are not formatted as required."""
    return [path for path in sorted((bundle / "configs").glob("*.json")) if format_json(_read(path)) != _read(path)]


def add_format_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `format-bundles` to the command line."""
    description = "format the JSON files of bundles as the MONAI Model Zoo requires (4 spaces)"
    command = commands.add_parser(
        "format-bundles", help=description, description=description, formatter_class=HelpFormatter
    )
    command.add_argument(
        "bundles", metavar="FOLDER", type=Path, nargs="*", help="bundle folders (default: all in bundles/)"
    )
    command.add_argument(
        "--check", action="store_true", help="do not write any file; the exit code is 1 if a file would change"
    )
    command.set_defaults(run=_format)


def _format(options: argparse.Namespace) -> int:
    changed = [path for bundle in options.bundles or find_bundles() for path in unformatted(bundle)]
    for path in changed:
        logger.info("%s %s", "would change" if options.check else "changed", path)
        if not options.check:
            path.write_text(format_json(_read(path)), encoding="utf-8")
    return int(options.check and bool(changed))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
