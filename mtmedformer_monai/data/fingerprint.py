"""Computes digests of everything that affects a preprocessed image: transforms, code, versions and files."""

from __future__ import annotations

import copyreg
import hashlib
import logging
import sys
import sysconfig
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from os import stat_result
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

import mtmedformer_monai
from mtmedformer_monai.transforms.warn_once import WarnOnce

_logger = logging.getLogger(__name__)

Seen = dict[int, tuple[int, Any]]
"""{id of an object: (its number, the object)} for all objects visited so far."""

_WITHOUT_EFFECT = (logging.Logger, WarnOnce, np.random.RandomState, torch.Generator)
"""Attributes of these types do not affect the result of a deterministic transform."""

_LIBRARIES = (
    *("monai", "numpy", "torch", "scipy", "pillow", "nibabel", "itk", "pydicom", "python-gdcm", "pyjpegls"),
    *("imagecodecs", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle"),
)
"""Distributions that decode or transform images, if installed."""

_PACKAGE = Path(mtmedformer_monai.__file__).parent.resolve()
_INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def fingerprint_transforms(transforms: Sequence[Any]) -> str:
    """Returns the SHA-256 hash of transforms: their classes, attributes and source code, and the library versions.

    Equal transforms have the same fingerprint across processes and runs. Code is represented by its source files: those
    of this package, the module of every other class or function, and the modules outside of installed libraries that
    it imports. Code without a file, as in a notebook, is represented by its instructions. An object whose state cannot
    be determined has another fingerprint every time.
    """
    digest = hashlib.sha256(b"".join(_describe(list(transforms), {})))
    for text in (*map(_version_of, _LIBRARIES), digest_package()):
        digest.update(f"{text}\0".encode())
    return digest.hexdigest()


def fingerprint_item(item: Mapping[str, Any], files: Iterable[Path]) -> str:
    """Returns the SHA-256 hash of an item and of the path, size and times of its files.

    Raises:
        OSError: a file is missing.
    """
    digest = hashlib.sha256(b"".join(_describe(dict(item), {})))
    for file in files:
        digest.update(f"{file}\0{version_of_file(file.stat())}\0".encode())
        if file.is_dir():  # a folder with a single image: include that file
            digest.update(fingerprint_item({}, sorted(file.iterdir())).encode())
    return digest.hexdigest()


def version_of_file(status: stat_result) -> str:
    """Returns the size of a file, and the times of its last modification and of its last change.

    Copying and unpacking may restore the former (`cp -p`, `rsync -t`), but not the latter.
    """
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def _version_of(library: str) -> str:
    try:
        return f"{library} {version(library)}"
    except PackageNotFoundError:
        return library


@cache
def digest_package() -> str:
    """Returns the SHA-256 hash of this package's sources for preparing images, so that any change is a new version."""
    root = Path(mtmedformer_monai.__file__).parent
    digest = hashlib.sha256()
    folders = (root / name for name in ("data", "io", "layers", "tasks", "transforms"))
    for file in (root / "keys.py", *(file for folder in folders for file in sorted(folder.rglob("*.py")))):
        digest.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def _describe(value: Any, seen: Seen) -> Iterable[bytes]:
    """Serializes a value so that different values yield different bytes; repeated objects refer to their number."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, Path)):
        yield f"{type(value).__name__}:{value!r};".encode()
        return
    if isinstance(value, ModuleType):
        yield f"module:{value.__name__};".encode() + _source_of(value.__name__)
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
    if isinstance(value, type):
        yield from _describe_type(value, seen)
    elif isinstance(value, torch.Tensor):
        yield str(value.dtype).encode() + str(tuple(value.shape)).encode() + value.detach().cpu().numpy().tobytes()
        yield from _describe(dict(value.__dict__), seen)  # the metadata of a MetaTensor
    elif isinstance(value, np.ndarray) and value.dtype != object:
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
        yield from _describe(type(value), seen)
        yield from _describe(dict(getattr(value, "__dict__", {})), seen)
        yield from _describe_state(value, seen)


def _describe_type(value: type, seen: Seen) -> Iterable[bytes]:
    """Describes a class by the sources of it and its bases, and by its members if it was defined without a file."""
    yield f"{value.__module__}.{value.__qualname__};".encode()
    for each in value.__mro__:
        yield _source_of(each.__module__)
        if _is_interactive(each.__module__):
            members = {name: member for name, member in vars(each).items() if not name.startswith(("__dict", "_abc_"))}
            for name in sorted(members.keys() - {"__weakref__", "__doc__", "__module__"}):
                yield from _describe(name, seen)
                yield from _describe(_function_of(members[name]), seen)


def _function_of(member: Any) -> Any:
    """Returns the function of a class method, static method or property; other members are returned unchanged."""
    return getattr(member, "fget", getattr(member, "__func__", member))


def _describe_state(value: Any, seen: Seen) -> Iterable[bytes]:
    """Describes the state outside of `__dict__` (slots, the arguments of a partial, ...) as pickle stores it."""
    try:
        reduce = copyreg.dispatch_table.get(type(value))
        reduced = reduce(value) if reduce is not None else value.__reduce_ex__(4)
    except Exception:  # objects that cannot be pickled raise various exceptions
        if not getattr(value, "__dict__", None):
            _logger.warning("Cached images are not reused: the state of a %s is unknown.", type(value).__qualname__)
            yield uuid.uuid4().bytes
        return
    parts = (reduced,) if isinstance(reduced, str) else reduced
    yield from _describe([list(part) if isinstance(part, Iterator) else part for part in parts], seen)


def _describe_function(function: FunctionType, seen: Seen) -> Iterable[bytes]:
    yield _source_of(function.__module__)
    yield from _describe_code(function.__code__)
    yield from _describe([function.__defaults__, function.__kwdefaults__], seen)
    for cell in function.__closure__ or ():
        yield from _describe(cell.cell_contents, seen)
    if not _is_library(function.__module__):
        for name in sorted(_names_in(function.__code__) & function.__globals__.keys()):
            yield from _describe(name, seen)
            yield from _describe(function.__globals__[name], seen)


def _names_in(code: CodeType) -> set[str]:
    """Returns the names that a function uses, and the functions that it defines."""
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*map(_names_in, inner))


def _describe_code(code: CodeType) -> Iterable[bytes]:
    yield code.co_code + code.co_exceptiontable + repr(code.co_names).encode()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _describe_code(constant)
        else:
            yield repr(constant).encode()


@cache
def _source_of(module: str) -> bytes:
    """Returns the digest of a module's source file, or Python's version if it has none.

    A module outside of installed libraries also counts with the source files of those that it imports.
    """
    files = (getattr(sys.modules.get(name), "__file__", None) for name in sorted(_modules_behind(module)))
    digest = hashlib.sha256(sys.version.encode())
    for file in files:
        digest.update(Path(file).read_bytes() if file and Path(file).is_file() else b"")
    return digest.digest()


def _modules_behind(module: str) -> set[str]:
    """Returns a module, and those outside of installed libraries that it imports, also indirectly."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            known = sys.modules.get(name)
            values = () if known is None or _is_library(name) else tuple(vars(known).values())
            modules = {value.__name__ for value in values if isinstance(value, ModuleType)}
            modules |= {value.__module__ for value in values if isinstance(value, (type, FunctionType))}
            waiting.extend(each for each in modules if not _is_library(each))
    return found


@cache
def _is_library(module: str) -> bool:
    """Returns whether a module is Python's, of this package or installed, so that its version represents its code."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if not file:
        return not _is_interactive(module)
    return any(folder in Path(file).resolve().parents for folder in (_PACKAGE, *_INSTALLED))


def _is_interactive(module: str) -> bool:
    """Returns whether a module has no source file, as in a notebook, or is not registered, so that it is unknown."""
    found = sys.modules.get(module)
    return found is None or (getattr(found, "__file__", None) is None and found.__spec__ is None)
