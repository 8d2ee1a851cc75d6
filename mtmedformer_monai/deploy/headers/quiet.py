"""Silences libraries whose warnings and logs contain values of the header, such as names, or addresses with UIDs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LIBRARIES = ("pydicom", "highdicom", "urllib3.connectionpool")


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Suppresses warnings, and the log messages of pydicom, highdicom and urllib3, within a `with` block."""
    loggers = [logger for name in _LIBRARIES if (logger := logging.getLogger(name)).level <= logging.CRITICAL]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
