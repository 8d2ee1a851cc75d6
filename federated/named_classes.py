"""Builds an object by the name of its class, as a command line or a config names it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

Choices = Mapping[str, tuple[str, str]]
"""{name: (module below `mtmedformer_monai.federated`, class)}."""


def build_by_name(kind: str, choices: Choices, name: str, *arguments: Any, **settings: Any) -> Any:
    """Imports the class and calls it.

    Args:
        kind: what is chosen, for messages, such as 'strategy'.
        choices: the classes that there are.
        name: of one of them.
        arguments: positional, of the constructor.
        settings: further arguments by name.

    Raises:
        ValueError: an unknown name, or a setting that the class doesn't have; the message lists the choices.
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
