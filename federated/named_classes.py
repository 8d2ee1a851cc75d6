"""Builds objects of classes that a command line or a config names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

Choices = Mapping[str, tuple[str, str]]
"""{name: (module below `mtmedformer_monai.federated`, class)}."""


def build_by_name(kind: str, choices: Choices, name: str, *arguments: Any, **settings: Any) -> Any:
    """Imports a class by name and returns an instance.

    Args:
        kind: what is built, for error messages, such as 'strategy'.
        choices: available classes.
        name: name of one of them.
        arguments: positional arguments of the constructor.
        settings: keyword arguments of the constructor.

    Raises:
        ValueError: an unknown name or setting; the message lists the choices.
    """
    if name not in choices:
        raise ValueError(f"{kind} expects one of {', '.join(choices)}, got {name!r}.")
    home, symbol = choices[name]
    cls = getattr(import_module(f"mtmedformer_monai.federated.{home}"), symbol)
    allowed = list(inspect.signature(cls).parameters)[len(arguments) :]
    unknown = sorted(set(settings) - set(allowed))
    if unknown:
        raise ValueError(f"{kind} {name!r} has no setting {unknown[0]!r}; it has {', '.join(allowed) or 'none'}.")
    return cls(*arguments, **settings)
