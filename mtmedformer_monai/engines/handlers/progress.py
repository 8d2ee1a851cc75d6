"""Reports the progress of a run: a progress bar on a terminal and one log line per epoch."""

from __future__ import annotations

import logging
import math
import sys
import time
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from tqdm import tqdm

from .order import after_all

_logger = logging.getLogger(__name__)


class Progress:
    """Shows a progress bar if stderr is a terminal, and logs one line per epoch.

    Args:
        evaluator: evaluator of the validation during training; its key metric is added to the line.
        metrics: names of further validation metrics to add to the line, such as `lung_dice`.
        bar: True or False enables or disables the bar; None enables it on a terminal.
    """

    def __init__(self, evaluator: Engine | None = None, metrics: tuple[str, ...] = (), bar: bool | None = None) -> None:
        self._evaluator = evaluator
        self._metrics = tuple(metrics)
        self._show_bar = sys.stderr.isatty() if bar is None else bar
        self._bar: Any = None
        self._started = time.monotonic()
        self._first_epoch = 0

    def attach(self, engine: Engine) -> None:
        """Registers the handler on a trainer, or on an evaluator that runs on its own; only process 0 reports."""
        if idist.get_rank() != 0:
            return
        after_all(engine, Events.EPOCH_STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
        after_all(engine, Events.EPOCH_COMPLETED, self._close)

    def _open(self, engine: Engine) -> None:
        if self._first_epoch == 0:
            self._started, self._first_epoch = time.monotonic(), engine.state.epoch
        if self._show_bar:
            title = f"epoch {engine.state.epoch}/{engine.state.max_epochs}"
            self._bar = tqdm(total=engine.state.epoch_length, desc=title, unit="batch", leave=False, file=sys.stderr)

    def _advance(self) -> None:
        if self._bar is not None:
            self._bar.update()

    def _close(self, engine: Engine) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        _logger.info("%s", self._line(engine))

    def _line(self, engine: Engine) -> str:
        epoch, last = engine.state.epoch, engine.state.max_epochs
        done = epoch - self._first_epoch + 1
        seconds = (time.monotonic() - self._started) / done
        parts = [f"epoch {epoch}/{last}", *_shown({"loss": engine.state.metrics.get("loss", math.nan)})]
        if self._evaluator is not None and self._evaluator.state.epoch == epoch:
            metrics = self._evaluator.state.metrics
            names = [*self._metrics, self._evaluator.state.key_metric_name]
            parts += _shown({name: metrics.get(name, math.nan) for name in names if name})
        left = f", {duration(seconds * (last - epoch))} left" if epoch < last else ""
        return "  ".join(parts) + f"  ({duration(seconds)} per epoch{left})"


def duration(seconds: float) -> str:
    """Formats a duration in seconds for readers.

    Example:
        >>> duration(4.2), duration(130), duration(7300)
        ('4.2 s', '2 min 10 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _shown(metrics: dict[str, float]) -> list[str]:
    return [f"{name} {value:.3f}" for name, value in metrics.items() if not math.isnan(value)]
