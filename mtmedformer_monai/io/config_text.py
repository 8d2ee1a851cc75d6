"""Formats text, such as paths, as values of a MONAI config."""

from __future__ import annotations

import json
import logging
import re
import shlex
from pathlib import Path

_MEANINGFUL = re.compile(r"[#@%$]")
_logger = logging.getLogger(__name__)


def config_text(text: str | Path) -> str:
    r"""Returns a config value that MONAI's parser resolves to exactly this text.

    Four characters have a special meaning to the parser: `#` is replaced by `::`; a leading `$` marks an expression, a
    leading `@` a reference, and a leading `%` a macro; `@#` and `%#` are relative IDs. Text that contains one of these
    characters is written as an expression in which they are escaped. Any other text is returned unchanged.

    Args:
        text: value that a component should receive, such as a path.

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
    """Logs a warning if a path contains `::`, by which MONAI's parser replaces a `#` in a path."""
    if "::" in str(path):
        typed = str(path).replace("::", "#")
        _logger.warning(
            "MONAI's parser reads '#' in a path as '::'. Files are written to %s; if you meant %s, use --output_dir %s",
            path,
            typed,
            shlex.quote(config_text(typed)),
        )
