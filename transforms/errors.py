"""Exceptions raised when a radiograph cannot be read.

Each message gives the base name of the file, the problem and the remedy. It never contains an attribute of the patient.
"""

from __future__ import annotations

from pathlib import Path


class RadiographError(ValueError):
    """Base class of the errors about a file; catch it to skip every file that cannot be used.

    Only subclasses are raised.

    Args:
        path: the file; only its base name appears in the message.
        problem: what is wrong with the file.
        remedy: what the user can do about it.
    """

    def __init__(self, path: str | Path, problem: str, remedy: str) -> None:
        super().__init__(f"{Path(path).name}: {problem}; {remedy}.")
        self.args = (str(path), problem, remedy)

    @property
    def advice(self) -> str:
        """Problem and remedy without the file's name, which may identify a patient, and without a period."""
        return f"{self.args[1]}; {self.args[2]}"

    def __str__(self) -> str:
        return f"{Path(self.args[0]).name}: {self.advice}."


class UnreadableFileError(RadiographError):
    """The file is not DICOM, PNG, JPEG or NIfTI, or its header is damaged."""


class UnsupportedModalityError(RadiographError):
    """The modality of the image is not admitted by the caller."""


class RefusedImageError(RadiographError):
    """A valid image is refused by an admission rule or an option, which the message names.

    Args:
        path: see `RadiographError`.
        problem: likewise.
        remedy: likewise.
        rule: name of the rule or option.
    """

    def __init__(self, path: str | Path, problem: str, remedy: str, rule: str) -> None:
        super().__init__(path, problem, remedy)
        self.args = (*self.args, rule)

    @property
    def rule(self) -> str:
        """Name of the rule or option."""
        return str(self.args[3])


class UnsupportedImageError(RadiographError):
    """A valid image is not a supported 2D radiograph: a volume, an unknown color space, a missing LUT item."""


class MultiFrameError(RadiographError):
    """The image has more than one frame, as tomosynthesis and cine loops have."""


class NoPixelsError(RadiographError):
    """The file has no pixel data, or an image size that is not usable."""


class BrokenPixelDataError(RadiographError):
    """The pixel data are truncated or damaged, or contradict the header."""


class MissingDecoderError(RadiographError):
    """No installed decoder supports the transfer syntax."""


class AnnotationError(ValueError):
    """A mask, box or label contradicts its image or the tasks, although its file can be read."""
