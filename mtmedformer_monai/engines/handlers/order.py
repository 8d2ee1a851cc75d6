"""Handlers that have to run after all others, wherever they stand in a config's list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ignite.engine import Engine, Events


def after_all(engine: Engine, event: Any, handler: Callable[..., Any]) -> None:
    """Registers a handler behind all that are registered before the run starts.

    Ignite runs an event's handlers in the order of registration. A checkpoint that is written before the validation or
    the learning rate's step of the same epoch would not resume exactly, so such handlers register when the run
    starts. Several of them keep their order among themselves. Further runs of the same engine register nothing more.

    Args:
        engine: to register on.
        event: Ignite event, fired after `Events.STARTED`.
        handler: called with the engine.
    """

    def register() -> None:
        if not engine.has_event_handler(handler, event):
            engine.add_event_handler(event, handler)

    engine.add_event_handler(Events.STARTED, register)
