"""Formats the last line that a failed run prints: what went wrong and how to fix it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from types import TracebackType

LONGEST = 1000
"""Maximum number of characters in the line; errors of `load_state_dict` list every tensor."""

_EXPECTED = (ValueError, OSError)
"""Exceptions whose messages are complete sentences, so that the class name is omitted."""


def root_cause(error: BaseException) -> BaseException:
    """Returns the original error without MONAI's wrappers ("Failed to evaluate ...", "applying transform ...").

    For errors raised from a cause outside MONAI, the outer message is more informative, so it is kept.
    """
    while error.__cause__ is not None and _raised_in(error).partition(".")[0] == "monai":
        error = error.__cause__
    return error


def error_line(error: BaseException) -> str:
    """Returns one line with `error: ` and the message of the root cause.

    Example:
        >>> error_line(ValueError("voi_index expects 0 or more, got -1."))
        'error: voi_index expects 0 or more, got -1.'
    """
    cause = root_cause(error)
    text = str(cause.args[0]) if isinstance(cause, KeyError) and cause.args else str(cause)
    text = " ".join(_of_worker(text).split())
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} ..."
    named = isinstance(cause, _EXPECTED) and text
    return f"error: {text}" if named else f"error: {type(cause).__name__}: {text}".rstrip(": ")


def show_error_last() -> None:
    """Installs an exception hook that prints `error_line` after the traceback; repeated calls have no effect."""
    if getattr(sys.excepthook, "shows_error_last", False):
        return
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        before(kind, error, trace)
        if isinstance(error, Exception):
            sys.stdout.flush()
            sys.stderr.write(f"{error_line(error)}\n")

    hook.shows_error_last = True  # type: ignore[attr-defined]
    sys.excepthook = hook


def _raised_in(error: BaseException) -> str:
    """Returns the name of the module that raised an error."""
    frames = list(_frames(error.__traceback__))
    return str(frames[-1].tb_frame.f_globals.get("__name__", "")) if frames else ""


def _frames(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _of_worker(text: str) -> str:
    """Extracts the message of an error that a DataLoader worker passes on as the text of its full traceback."""
    if "Original Traceback" not in text:
        return text
    first = text.partition("The above exception was the direct cause")[0]
    raised = list(re.finditer(r"^[A-Za-z_][\w.]*: ", first, re.MULTILINE))
    return first[raised[-1].end() :] if raised else text
