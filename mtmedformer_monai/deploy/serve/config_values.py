"""Builds dataclasses from the mappings of a YAML file, with errors that name the key, the value and the remedy."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def build(kind: type[T], given: Any, where: str, folder: Path) -> T:
    """Builds a dataclass from a mapping.

    Args:
        kind: a dataclass whose fields are str, int, float, bool, Path, Literal, tuple[str, ...], Mapping[str, str],
            another such dataclass, or an optional one of these.
        given: the mapping as read from YAML; None counts as an empty one.
        where: dotted name of the mapping in the file, for messages; '' for the top level.
        folder: folder to which relative paths are resolved.

    Raises:
        ValueError: a key is unknown or missing, or a value has the wrong type.
    """
    if not isinstance(given, Mapping | None):
        raise ValueError(f"{where or 'the file'} expects keys with values, got {_kind_of(given)}.")
    given, known = dict(given or {}), [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for key in given:
        if key not in known:
            raise ValueError(f"{_join(where, key)} is unknown; {_suggest(str(key), known)}.")
    hints = get_type_hints(kind)
    values = {key: _convert(hints[key], value, _join(where, key), folder) for key, value in given.items()}
    try:
        return kind(**values)
    except TypeError as error:  # a field without a default is missing
        missing = [name for name in known if f"'{name}'" in str(error)]
        raise ValueError(f"{where or 'the file'} lacks {', '.join(missing) or error}; add it.") from error


def _convert(hint: Any, value: Any, where: str, folder: Path) -> Any:
    """Converts one value to the type of its field."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return None if value is None else _convert(next(p for p in parts if p is not type(None)), value, where, folder)
    if is_dataclass(hint):
        return build(hint, value, where, folder)  # type: ignore[arg-type]
    if origin is Literal:
        if value not in parts:
            raise ValueError(f"{where} expects one of {', '.join(map(str, parts))}; got {value!r}.")
        return value
    if origin is tuple:
        if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
            raise ValueError(f"{where} expects a list of texts, got {_kind_of(value)}; write UIDs in quotes.")
        return tuple(value)
    if hint is Path:
        return folder / Path(_plain(str, value, where)).expanduser()
    if origin is not None:
        if not isinstance(value, Mapping):
            raise ValueError(f"{where} expects keys with values, got {_kind_of(value)}.")
        return {str(key): _plain(str, part, _join(where, key)) for key, part in value.items()}
    return _plain(hint, value, where)


def _plain(hint: type[Any], value: Any, where: str) -> Any:
    """Checks a text, a truth value or a number."""
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{where} expects {hint.__name__}, got {_kind_of(value)}.")
    return value


def _kind_of(value: Any) -> str:
    """Describes a wrong value without showing it: it may be a secret in the wrong place."""
    return "nothing" if value is None else f"a value of type {type(value).__name__}"


def _join(where: str, key: Any) -> str:
    return f"{where}.{key}" if where else str(key)


def _suggest(key: str, known: list[str]) -> str:
    if any(word in key.lower() for word in ("password", "token", "secret")):
        return "secrets are not written in this file: name an environment variable (secret_env) or a file (secret_file)"
    near = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
