"""Computes digests of everything that affects a preprocessed image: transforms, code, versions and files."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

import mtmedformer_monai
from mtmedformer_monai.transforms.warn_once import WarnOnce

Seen = dict[int, tuple[int, Any]]
"""{id of an object: (its number, the object)} for all objects visited so far."""

_WITHOUT_EFFECT = (logging.Logger, WarnOnce, np.random.RandomState, torch.Generator, ModuleType)
"""Attributes of these types do not affect the result of a deterministic transform."""


def fingerprint_transforms(transforms: Sequence[Any]) -> str:
    """Returns the SHA-256 hash of transforms: their classes, attributes and source code, and the library versions.

    Equal transforms have the same fingerprint across processes and runs. Code is represented by its source files: those
    of this package, and the module of every other class.
    """
    digest = hashlib.sha256(b"".join(_describe(list(transforms), {})))
    for text in (np.__version__, torch.__version__, digest_package()):
        digest.update(text.encode())
    return digest.hexdigest()


def fingerprint_item(item: Mapping[str, Any], files: Iterable[Path]) -> str:
    """Returns the SHA-256 hash of an item and of the path, size and modification time of its files.

    Raises:
        OSError: a file is missing.
    """
    digest = hashlib.sha256(b"".join(_describe(dict(item), {})))
    for file in files:
        status = file.stat()
        digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        if file.is_dir():  # a folder with a single image: include that file
            digest.update(fingerprint_item({}, sorted(file.iterdir())).encode())
    return digest.hexdigest()


@cache
def digest_package() -> str:
    """Returns the SHA-256 hash of this package's Python sources, so that any change counts as a new version."""
    root = Path(mtmedformer_monai.__file__).parent
    digest = hashlib.sha256()
    for folder in (root / "data", root / "tasks", root / "transforms"):
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def _describe(value: Any, seen: Seen) -> Iterable[bytes]:
    """Serializes a value so that different values yield different bytes; repeated objects refer to their number."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, type, Path)):
        yield f"{type(value).__name__}:{value!r};".encode()
        if isinstance(value, type):
            yield _source_of(value.__module__)
        return
    if isinstance(value, _WITHOUT_EFFECT):
        return
    if id(value) in seen:
        yield f"see {seen[id(value)][0]};".encode()
        return
    seen[id(value)] = (len(seen), value)  # keep the object alive; otherwise, another one could get the same id
    yield f"{type(value).__module__}.{type(value).__qualname__}(".encode()
    yield from _describe_parts(value, seen)
    yield b")"


def _describe_parts(value: Any, seen: Seen) -> Iterable[bytes]:
    if isinstance(value, torch.Tensor):
        yield str(value.dtype).encode() + str(tuple(value.shape)).encode() + value.detach().cpu().numpy().tobytes()
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes()
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            yield from _describe(key, seen)
            yield from _describe(value[key], seen)
    elif isinstance(value, (set, frozenset)):
        for each in sorted(value, key=repr):
            yield from _describe(each, seen)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _describe(each, seen)
    elif isinstance(value, FunctionType):
        yield from _describe_function(value, seen)
    else:
        yield _source_of(type(value).__module__)
        yield from _describe(dict(getattr(value, "__dict__", {})) or repr(type(value)), seen)


def _describe_function(function: FunctionType, seen: Seen) -> Iterable[bytes]:
    yield from _describe_code(function.__code__)
    yield from _describe(function.__defaults__, seen)
    for cell in function.__closure__ or ():
        yield from _describe(cell.cell_contents, seen)


def _describe_code(code: CodeType) -> Iterable[bytes]:
    yield code.co_code + repr(code.co_names).encode()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _describe_code(constant)
        else:
            yield repr(constant).encode()


@cache
def _source_of(module: str) -> bytes:
    """Returns the digest of a module's source file, or Python's version for built-in modules."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if not file or not Path(file).is_file():
        return sys.version.encode()
    return hashlib.sha256(Path(file).read_bytes()).digest()
