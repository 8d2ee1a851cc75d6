"""A clock that adds up the time of named parts of a program."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Clock:
    """Adds up the time of parts; nested parts count for the inner one only."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._now = now
        self._inner: list[float] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Adds the time of a block to a part, without the parts within it."""
        start = self._now()
        self._inner.append(0.0)
        try:
            yield
        finally:
            elapsed = self._now() - start
            self.seconds[name] += elapsed - self._inner.pop()
            if self._inner:
                self._inner[-1] += elapsed

    def wrap(self, call: Callable[..., Any], name: str | Callable[..., str]) -> Callable[..., Any]:
        """Returns the callable under the name of a part, or of the part that a function of its options names."""

        def timed(*args: Any, **options: Any) -> Any:
            with self.part(name if isinstance(name, str) else name(**options)):
                return call(*args, **options)

        timed.__name__ = getattr(call, "__name__", "call")
        return timed
