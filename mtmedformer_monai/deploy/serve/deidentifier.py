"""The de-identifier that the worker's configuration describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import DeidentifyConfig

if TYPE_CHECKING:
    from mtmedformer_monai.deploy.privacy.deidentify import Deidentifier

OFF = "off"
"""Fingerprint of the settings without de-identification."""


def make_deidentifier(config: DeidentifyConfig) -> Deidentifier | None:
    """Returns the de-identifier, or None if images are not de-identified.

    Raises:
        FileNotFoundError: the key does not exist.
        ValueError: the key is too short.
    """
    if not config.enabled or config.key_file is None:
        return None
    from mtmedformer_monai.deploy.privacy.deidentify import Deidentifier, read_key

    return Deidentifier(read_key(config.key_file), keeps_uids=config.uids == "keep")


def fingerprint(config: DeidentifyConfig) -> str:
    """Returns a text that differs if the settings or the key differ, without telling the key; raises as above."""
    deidentifier = make_deidentifier(config)
    return OFF if deidentifier is None else deidentifier.fingerprint()
