"""What can be wrong with a radiograph's file.

Each message names the file by its base name, its problem and the remedy. No attribute of the patient stands in one.
"""

from __future__ import annotations

from pathlib import Path


class RadiographError(ValueError):
    """A file that is not read. Never built itself: catch it to skip every file that cannot be used.

    Args:
        path: the file; its base name alone enters the message.
        problem: what is wrong with it.
        remedy: what its owner can do about it.
    """

    def __init__(self, path: str | Path, problem: str, remedy: str) -> None:
        super().__init__(f"{Path(path).name}: {problem}; {remedy}.")
        self.args = (str(path), problem, remedy)

    def __str__(self) -> str:
        path, problem, remedy = self.args
        return f"{Path(path).name}: {problem}; {remedy}."


class UnreadableFileError(RadiographError):
    """Neither DICOM, PNG, JPEG nor NIfTI, or one of these with a broken header."""


class UnsupportedModalityError(RadiographError):
    """A modality that the caller does not admit."""


class RefusedImageError(RadiographError):
    """A sound image that a rule or a knob refuses; the message names it."""


class UnsupportedImageError(RadiographError):
    """An image that is sound, and not one 2D radiograph: a volume, an unknown color space, a missing LUT item."""


class MultiFrameError(RadiographError):
    """More than one frame: a tomosynthesis, a cine loop."""


class NoPixelsError(RadiographError):
    """No pixel data, or none of a usable size."""


class BrokenPixelDataError(RadiographError):
    """Pixel data that is cut short or that no installed decoder can make sense of."""


class MissingDecoderError(RadiographError):
    """A transfer syntax whose decoder is not installed."""


class AnnotationError(ValueError):
    """A mask, box or label that contradicts its image or the tasks; the file itself can be read."""
