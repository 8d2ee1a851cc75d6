"""Runs PixelMed's DicomSRValidator (Debian's libpixelmed-java), which validates SR documents by their templates."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

JARS = Path("/usr/share/java")
REMEDY = "PixelMed's SR validator is not installed; on Debian: apt-get install libpixelmed-java default-jre-headless"
LIMITS = ("jdk.xml.xpathExprOpLimit", "jdk.xml.xpathTotalOpLimit", "jdk.xml.xpathExprGrpLimit")
"""Limits of recent Java versions, which the validator's rules exceed; 0 disables them."""


def validate_report(path: Path) -> tuple[list[str], list[str]]:
    """Returns the detected IOD and root template of a document, and the problems found.

    Without the validator the test is skipped; under CI=true it fails.
    """
    java = shutil.which("java")
    if java is None or not (JARS / "pixelmed.jar").exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(REMEDY)
    command = [java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx1g", *(f"-D{name}=0" for name in LIMITS)]
    command += ["-cp", f"{JARS}/*", "com.pixelmed.validate.DicomSRValidator", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    lines = done.stdout.splitlines()
    if "IOD validation complete" not in lines:
        pytest.fail(f"the validator did not finish: {done.stderr[-2000:]}")
    problems = [line for line in lines if line.startswith("Error") or "illegal" in line]
    return [line for line in lines if line.startswith("Found")], problems
