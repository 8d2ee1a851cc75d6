"""Runs dicom3tools: `dciodvfy` validates a file against the modules of its IOD, `dcentvfy` several files together."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REMEDY = "dicom3tools is not installed; on Debian: apt-get install dicom3tools"


def validate(path: Path) -> tuple[str, list[str]]:
    """Returns the detected IOD of a file and the errors found.

    Without the validator the test is skipped; under CI=true it fails.
    """
    lines = _run("dciodvfy", path)
    return lines[0], _errors(lines)


def validate_together(*paths: Path) -> list[str]:
    """Returns the errors found in files of common patients, studies and series, whose attributes have one value each.

    Without the validator the test is skipped; under CI=true it fails.
    """
    return _errors(_run("dcentvfy", *paths))


def _run(name: str, *paths: Path) -> list[str]:
    validator = shutil.which(name)
    if validator is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(REMEDY)
    done = subprocess.run([validator, *map(str, paths)], capture_output=True, text=True, timeout=60, check=False)
    return (done.stdout + done.stderr).splitlines()


def _errors(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("Error")]
