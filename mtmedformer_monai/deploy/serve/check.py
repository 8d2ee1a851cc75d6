"""Checks a configuration without processing anything, for `mtmedformer serve --check`."""

from __future__ import annotations

import logging

from .archive import DicomWebArchive
from .audit import make_names
from .config import ServeConfig
from .errors import ArchiveRefusedError, ArchiveUnavailableError, NotInArchiveError
from .rules import load_rules

logger = logging.getLogger("mtmedformer")


def check_service(config: ServeConfig) -> int:
    """Logs what would be processed, and asks the archive; returns the exit code, 1 if the archive does not answer.

    Raises:
        ValueError: the configuration names something that is missing.
    """
    rules = load_rules(config.bundle, config.rules)
    make_names(config.audit, config.deidentify)
    logger.info("SOP classes: %s", ", ".join(rules.sop_classes))
    logger.info("modalities: %s; intents: %s", ", ".join(rules.modalities), ", ".join(rules.intents))
    logger.info("%s", rules.admission)
    if not config.archive.url:
        logger.info("no archive is watched")
        return 0
    try:
        _ask(config)
    except NotInArchiveError:
        logger.error("the archive has no such service (HTTP 404); check archive.url and archive.orthanc_url")
        return 1
    except (ArchiveUnavailableError, ArchiveRefusedError) as error:
        logger.error("%s", error)
        return 1
    logger.info("the archive answers")
    return 0


def _ask(config: ServeConfig) -> None:
    archive = DicomWebArchive(config.archive)
    archive.search({"limit": 1})
    if config.archive.feed == "orthanc":
        archive.orthanc("/changes", last="")
