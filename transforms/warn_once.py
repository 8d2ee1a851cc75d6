"""Logs each warning about a file only once, however often the file is loaded."""

from __future__ import annotations

import logging
from pathlib import Path


class WarnOnce:
    """Logs a warning once per file and message; each data loader worker counts separately.

    Args:
        logger: the logger to write to.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger
        self.seen: set[tuple[str, str]] = set()

    def __call__(self, path: str | Path, message: str) -> None:
        """Logs `name: message`, with the file's base name and no attribute of the patient.

        Args:
            path: the file.
            message: the problem, and what is done about it.
        """
        if (str(path), message) not in self.seen:
            self.seen.add((str(path), message))
            self.logger.warning("%s: %s", Path(path).name, message)
