"""The worker's loop: looks for new images, and advances one case by one step at a time."""

from __future__ import annotations

import errno
import logging
import sqlite3
import time
import traceback
from collections.abc import Callable, Mapping

from mtmedformer_monai.transforms.errors import RadiographError

from . import steps
from .archive import Found
from .case import Case, Refusal, State, new_case
from .errors import (
    ArchiveRefusedError,
    ArchiveUnavailableError,
    ImageRefusedError,
    NotInArchiveError,
    ObjectTooLargeError,
    WrongResultError,
)
from .feeds import Feed
from .health import Health
from .metrics import WorkerMetrics
from .steps import Parts

logger = logging.getLogger("mtmedformer")

_STEPS: Mapping[State, Callable[[Case, Parts], None]] = {
    "inferred": steps.store,
    "fetched": steps.infer,
    "seen": steps.fetch,
}
"""{state: the step that follows}, the last step first, so that the spool is emptied before it is filled."""

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Errors of the worker's own disk: it is full, or failing."""


class Worker:
    """Advances all cases; runs in one thread, so that at most one image is in memory.

    Args:
        parts: what the steps work with.
        feed: source of new images; None if images are only received.
        model: SHA-256 hash of the model.
        health: shows the present problems.
        metrics: counts steps.
        poll_seconds: pause between two looks at the feed.
        clock: returns seconds since 1970.
    """

    def __init__(
        self,
        parts: Parts,
        feed: Feed | None,
        model: str,
        health: Health,
        metrics: WorkerMetrics,
        poll_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._parts, self._feed, self._model = parts, feed, model
        self._health, self._metrics = health, metrics
        self._poll_seconds, self._clock = poll_seconds, clock
        self._next_poll = self._archive_again = self._disk_again = 0.0
        self._archive_failures = 0

    def turn(self) -> bool:
        """Looks at the feed if it is time, advances one case, and returns whether there may be more to do."""
        if self._clock() < self._disk_again:
            return False
        try:
            more = self._poll()
            return self._step() or more
        except (sqlite3.OperationalError, OSError) as error:  # of our own files: the disk is full or failing
            self._wait_for_disk(error)
            return False

    def _poll(self) -> bool:
        """Reads one page of the feed, if it is time."""
        now = self._clock()
        if self._feed is None or now < max(self._next_poll, self._archive_again):
            return False
        self._next_poll = now + self._poll_seconds
        try:
            more = self._feed.poll(self._take)
        except ArchiveUnavailableError as error:
            self._wait_for_archive(str(error))
            return False
        except ArchiveRefusedError as error:
            self._report("feed", str(error))
            return False
        except (NotInArchiveError, KeyError, TypeError, ValueError):
            self._report("feed", "the archive has no such feed at this address; check archive.feed and archive.url")
            return False
        self._archive_works()
        self._report("feed", "")
        if more:
            self._next_poll = now
        return more

    def _take(self, found: Found) -> None:
        """Registers an image of the feed."""
        refusal = self._parts.rules.refuse_early(found)
        if self._parts.state.register(new_case(found.source, self._model, "archive"), refusal):
            if refusal:
                self._metrics.count("select", "refused", refusal.rule)
            self._parts.reached("seen")

    def _step(self) -> bool:
        """Advances the case that is due; returns whether there was one."""
        case = self._parts.state.next_due(self._possible(), self._clock(), self._parts.limits.max_retry_seconds)
        if case is None:
            return False
        step = _STEPS[case.state]
        if case.attempts >= self._parts.limits.max_attempts:  # the process died in each of them
            self._give_up(case, step.__name__, f"the process ended during each of {case.attempts} attempts")
            return True
        self._parts.state.begin(case)
        with self._metrics.timed(step.__name__):
            self._try(case, step)
        return True

    def _possible(self) -> list[State]:
        """Returns the states whose step is possible now."""
        problem = self._parts.spool.problem()
        self._report("disk", problem)
        online = self._clock() >= self._archive_again
        allowed = {"inferred": online, "fetched": True, "seen": online and not problem}
        return [state for state in _STEPS if allowed[state]]

    def _try(self, case: Case, step: Callable[[Case, Parts], None]) -> None:
        """Does one step, and sorts its failures by what is to be done."""
        try:
            step(case, self._parts)
        except ArchiveUnavailableError as error:
            self._parts.state.postpone(case, self._wait_for_archive(str(error)), counts=False)
        except NotInArchiveError:
            self._refuse(case, step.__name__, Refusal("gone", "the archive no longer has it"))
        except ObjectTooLargeError:
            self._refuse(case, step.__name__, Refusal("size", "the file is larger than limits.max_object_mb"))
        except ImageRefusedError as error:
            self._refuse(case, step.__name__, Refusal(error.rule, error.reason))
        except RadiographError as error:
            self._refuse(case, step.__name__, Refusal(type(error).__name__, error.advice))
        except (ArchiveRefusedError, WrongResultError) as error:
            self._repeat(case, step.__name__, str(error))
        except Exception as error:  # headers and archives fail in unforeseen ways, and one case must not stop the rest
            if isinstance(error, sqlite3.OperationalError) or getattr(error, "errno", None) in _DISK:
                self._parts.state.postpone(case, self._clock(), counts=False)
                raise
            self._repeat(case, step.__name__, _place(error))
        else:
            self._metrics.count(step.__name__, "done")
            if step is not steps.infer:
                self._archive_works()

    def _refuse(self, case: Case, step: str, refusal: Refusal) -> None:
        self._parts.state.advance(case, "refused", rule=refusal.rule, reason=refusal.reason)
        self._parts.spool.clear(case)
        self._metrics.count(step, "refused", refusal.rule)

    def _repeat(self, case: Case, step: str, reason: str) -> None:
        """Appoints the next attempt of a case that failed for a reason of its own, or gives it up."""
        attempts, limits = case.attempts + 1, self._parts.limits
        if attempts >= limits.max_attempts:
            self._give_up(case, step, reason)
            return
        self._parts.state.postpone(case, self._clock() + self._pause(attempts), counts=True)
        self._parts.state.note("retry", case=case, step=step, attempts=attempts, reason=reason)
        self._metrics.count(step, "retry")

    def _give_up(self, case: Case, step: str, reason: str) -> None:
        """Ends a case as failed; the file of a received image is kept, because there may be no other copy."""
        self._parts.state.advance(case, "failed", rule=step, reason=reason)
        if case.origin == "archive":
            self._parts.spool.clear(case)
        self._metrics.count(step, "failed")
        logger.error("a case failed in step %s: %s; see the audit log, and --retry-failed", step, reason)

    def _pause(self, attempts: int) -> float:
        limits = self._parts.limits
        return float(min(limits.max_retry_seconds, limits.retry_seconds * 2.0 ** min(attempts - 1, 30)))

    def _wait_for_archive(self, message: str) -> float:
        """Lets all steps that need the archive wait; returns until when."""
        self._archive_failures += 1
        self._archive_again = self._clock() + self._pause(self._archive_failures)
        self._report("archive", message)
        return self._archive_again

    def _archive_works(self) -> None:
        self._archive_failures, self._archive_again = 0, 0.0
        self._report("archive", "")

    def _wait_for_disk(self, error: Exception) -> None:
        self._disk_again = self._clock() + self._parts.limits.retry_seconds
        self._health.set("disk", f"the worker's folder cannot be written ({_place(error)}); free some space")

    def _report(self, name: str, message: str) -> None:
        if self._health.set(name, message):
            self._parts.state.note("problem" if message else "solved", problem=name, reason=message)


def _place(error: Exception) -> str:
    """Describes an unexpected error by its class and origin; its message might contain an attribute of the patient."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {frames[-1].filename.rpartition('/')[2]}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
