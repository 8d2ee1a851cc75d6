"""The last line of what a failed run prints: what went wrong, and what to do about it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from types import TracebackType

LONGEST = 1000
"""Characters of the line; errors of `load_state_dict` list every tensor."""

_EXPECTED = (ValueError, OSError)
"""Their messages are whole sentences and need no class name before them."""


def root_cause(error: BaseException) -> BaseException:
    """The error below those that MONAI wraps around it ("Failed to evaluate ...", "applying transform ...").

    Any other error that was raised from a cause is the better message of the two, and stays.
    """
    while error.__cause__ is not None and _raised_in(error).partition(".")[0] == "monai":
        error = error.__cause__
    return error


def error_line(error: BaseException) -> str:
    """One line: `error: ` and the message of the root cause.

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
    """Makes an error that ends the process print `error_line` below its trace; once is enough."""
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
    """Name of the module that raised an error."""
    frames = list(_frames(error.__traceback__))
    return str(frames[-1].tb_frame.f_globals.get("__name__", "")) if frames else ""


def _frames(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _of_worker(text: str) -> str:
    """The message of an error that a DataLoader's worker sends as the text of its whole trace."""
    if "Original Traceback" not in text:
        return text
    first = text.partition("The above exception was the direct cause")[0]
    raised = list(re.finditer(r"^[A-Za-z_][\w.]*: ", first, re.MULTILINE))
    return first[raised[-1].end() :] if raised else text
