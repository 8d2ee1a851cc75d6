"""Texts, paths above all, as values of a MONAI config."""

from __future__ import annotations

import json
import logging
import re
import shlex
from pathlib import Path

_MEANINGFUL = re.compile(r"[#@%$]")
_logger = logging.getLogger(__name__)


def config_text(text: str | Path) -> str:
    r"""A config value that MONAI's parser resolves to exactly this text.

    The parser gives four characters a meaning: `#` in any text becomes `::`; a leading `$` makes an expression, a
    leading `@` a reference, a leading `%` a macro; `@#` and `%#` are relative ids. A text with one of them is written
    as an expression with these characters escaped, all others stay as they are.

    Args:
        text: what a component should get, such as a path.

    Example:
        >>> config_text("/data/images")
        '/data/images'
        >>> config_text("/data/ward#3")
        '$"/data/ward\\x233"'
    """
    text = str(text)
    if _MEANINGFUL.search(text) is None:
        return text
    return "$" + _MEANINGFUL.sub(lambda found: f"\\x{ord(found[0]):02x}", json.dumps(text, ensure_ascii=False))


def warn_if_mangled(path: str | Path) -> None:
    """Warns of a path with `::`, which MONAI's parser makes of a `#` that was typed in a path."""
    if "::" in str(path):
        typed = str(path).replace("::", "#")
        _logger.warning(
            "MONAI's parser reads '#' in a path as '::'. Files go to %s; if %s was meant, write --output_dir %s",
            path,
            typed,
            shlex.quote(config_text(typed)),
        )
