"""A client's training state between rounds, from which an interrupted client resumes exactly."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ignite.engine import Engine, Events
from ignite.metrics import Metric
from monai.handlers import LrScheduleHandler

from mtmedformer_monai.engines.checkpointing.resume import LOADERS, ResumeTraining
from mtmedformer_monai.engines.checkpointing.training_state import TrainingState
from mtmedformer_monai.engines.handlers.seeding import SeedEachEpoch, why_not_seeded


def capture_trainer(trainer: Any) -> dict[str, Any]:
    """Returns the state of network, optimizer, loss, schedules, other stateful handlers and counters after a run."""
    trainer.scaler = None  # the stock trainer creates a new one for each run
    return TrainingState(stateful_parts(trainer)).capture(trainer)


def restore_trainer(trainer: Any, saved: dict[str, Any]) -> None:
    """Restores the state of a trainer built from the same config."""
    trainer.state.max_epochs = max(trainer.state.max_epochs, saved["epoch"])
    TrainingState(stateful_parts(trainer)).restore(trainer, saved)


def stateful_parts(engine: Engine) -> dict[str, Any]:
    """Returns handlers with `state_dict` and `load_state_dict`, and learning rate schedules, in registration order."""
    found: dict[str, Any] = {}
    seen: Counter[str] = Counter()
    for handler in registered(engine):
        part = handler.lr_scheduler if isinstance(handler, LrScheduleHandler) else handler
        if _has_state(part) and not any(part is each for each in found.values()):
            kind = type(part).__name__
            found[f"{kind}_{seen[kind]}"] = part
            seen[kind] += 1
    return found


def _has_state(part: Any) -> bool:
    """Returns whether to save an object; metrics are reset in each epoch, and engines are saved separately."""
    if isinstance(part, (Metric, Engine)):
        return False
    return hasattr(part, "state_dict") and hasattr(part, "load_state_dict")


def registered(engine: Engine) -> list[Any]:
    """Returns the objects behind an engine's handlers: owners of methods, and handlers behind event filters.

    They are sorted by event, so the order of registration of different events does not matter.
    """
    events = sorted(engine._event_handlers, key=lambda event: str(getattr(event, "value", event)))
    handlers = [handler for event in events for handler, *_ in engine._event_handlers[event]]
    unwrapped = [getattr(handler, "_parent", lambda handler=handler: handler)() for handler in handlers]
    return [getattr(handler, "__self__", handler) for handler in unwrapped]


def drop_loaders(*engines: Engine | None) -> None:
    """Removes handlers that load a checkpoint at the start of a run, since each round uses the server's weights."""
    for engine in engines:
        for handler in registered(engine) if engine is not None else []:
            if isinstance(handler, (*LOADERS, ResumeTraining)):
                engine.remove_event_handler(handler, Events.STARTED)  # type: ignore[union-attr]


def seed_each_epoch(trainer: Any, seed: int) -> None:
    """Makes randomness depend only on the epoch, unless the bundle does so already.

    This does not apply to trainers that `SeedEachEpoch` refuses, such as those with persistent workers.
    """
    is_seeded = any(isinstance(handler, SeedEachEpoch) for handler in registered(trainer))
    if not is_seeded and not why_not_seeded(trainer):
        SeedEachEpoch(seed).attach(trainer)


def reset_optimizer(trainer: Any) -> None:
    """Clears the optimizer's moments and momentum; learning rates are unchanged."""
    trainer.optimizer.state.clear()
