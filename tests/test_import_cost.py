"""Importing the package is fast, because heavy dependencies are imported on first use."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "monai", "ignite", "mlflow", "matplotlib", "pydicom", "numpy", "itk")
PACKAGES = (
    "mtmedformer_monai",
    *(f"mtmedformer_monai.{name}" for name in ("data", "engines", "networks", "tasks", "transforms")),
)


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_loads_nothing_heavy(package):
    script = f"import sys, {package}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_starts_without_anything_heavy():
    script = (
        "import sys, mtmedformer_monai.cli.main as cli; cli.make_parser();"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
