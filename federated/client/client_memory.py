"""What a site has to remember between rounds, to go on after a kill as if it had never stopped."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ignite.engine import Engine, Events
from ignite.metrics import Metric
from monai.handlers import CheckpointLoader, LrScheduleHandler

from mtmedformer_monai.engines.checkpointing.resume import ResumeTraining
from mtmedformer_monai.engines.checkpointing.training_state import TrainingState
from mtmedformer_monai.engines.handlers.seeding import SeedEachEpoch


def capture_trainer(trainer: Any) -> dict[str, Any]:
    """Network, optimizer, loss, schedules and other handlers with a state, and counters, after a run."""
    trainer.scaler = None  # each run of the stock trainer makes a new one
    return TrainingState(stateful_parts(trainer)).capture(trainer)


def restore_trainer(trainer: Any, saved: dict[str, Any]) -> None:
    """Puts it back into a trainer that was built from the same config."""
    trainer.state.max_epochs = max(trainer.state.max_epochs, saved["epoch"])
    TrainingState(stateful_parts(trainer)).restore(trainer, saved)


def stateful_parts(engine: Engine) -> dict[str, Any]:
    """Handlers with `state_dict` and `load_state_dict`, and learning rate schedules, in the order of registration."""
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
    """Metrics start anew in each epoch, and engines are kept apart."""
    if isinstance(part, (Metric, Engine)):
        return False
    return hasattr(part, "state_dict") and hasattr(part, "load_state_dict")


def registered(engine: Engine) -> list[Any]:
    """Objects behind an engine's handlers: of methods, whose they are; of filtered events, what is behind the filter.

    Sorted by event, so that the order of registering different events doesn't matter.
    """
    events = sorted(engine._event_handlers, key=lambda event: str(getattr(event, "value", event)))
    handlers = [handler for event in events for handler, *_ in engine._event_handlers[event]]
    unwrapped = [getattr(handler, "_parent", lambda handler=handler: handler)() for handler in handlers]
    return [getattr(handler, "__self__", handler) for handler in unwrapped]


def drop_loaders(*engines: Engine | None) -> None:
    """Takes handlers away that would load a checkpoint when a run starts: the server's weights rule, in each round."""
    for engine in engines:
        for handler in registered(engine) if engine is not None else []:
            if isinstance(handler, (CheckpointLoader, ResumeTraining)):
                engine.remove_event_handler(handler, Events.STARTED)  # type: ignore[union-attr]


def seed_each_epoch(trainer: Any, seed: int) -> None:
    """Makes randomness depend on the epoch alone, where the bundle doesn't; a loader that keeps its workers can't."""
    is_seeded = any(isinstance(handler, SeedEachEpoch) for handler in registered(trainer))
    if not is_seeded and not getattr(trainer.data_loader, "persistent_workers", False):
        SeedEachEpoch(seed).attach(trainer)


def reset_optimizer(trainer: Any) -> None:
    """Forgets moments and momentum; learning rates stay."""
    trainer.optimizer.state.clear()
