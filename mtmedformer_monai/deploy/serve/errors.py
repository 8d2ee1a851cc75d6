"""What can go wrong between the worker and the archive, by what the worker does about it."""

from __future__ import annotations


class ArchiveUnavailableError(Exception):
    """The archive does not answer, is overloaded or full, or refuses the credentials: everything waits."""


class ArchiveRefusedError(Exception):
    """The archive answers, but not to this request: the case is retried, and fails after too many attempts."""


class NotInArchiveError(Exception):
    """The archive no longer has the image: the case is refused."""


class ObjectTooLargeError(Exception):
    """The image is larger than the limit: the case is refused."""


class ImageRefusedError(Exception):
    """A rule, or inference itself, refuses the image: the case is refused.

    Args:
        rule: name of the rule or of the class of error.
        reason: a sentence without any attribute of the patient.
    """

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule, self.reason = rule, reason


class WrongResultError(ValueError):
    """What inference returned does not belong to its image, and is not stored; the message names no value."""
