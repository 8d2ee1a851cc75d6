"""Registers handlers that run after all others, regardless of their position in a config's list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ignite.engine import Engine, Events


def after_all(engine: Engine, event: Any, handler: Callable[..., Any]) -> None:
    """Registers a handler after all handlers that are registered before the run starts.

    Ignite calls the handlers of an event in the order of registration. A checkpoint written before the validation or
    the learning rate step of the same epoch could not be resumed exactly, so the handler is registered only when the
    run starts. Several such handlers keep their relative order, and repeated runs of an engine do not register it
    again.

    Args:
        engine: engine to register on.
        event: Ignite event that is fired after `Events.STARTED`.
        handler: handler to register.
    """

    def register() -> None:
        if not engine.has_event_handler(handler, event):
            engine.add_event_handler(event, handler)

    engine.add_event_handler(Events.STARTED, register)
