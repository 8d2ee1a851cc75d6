"""Checks that a folder's DICOM files are read as pydicom's own functions display them.

    python benchmarks/reading_agreement.py FOLDER

Prints a Markdown table with one row per file: the largest absolute difference between our image and the reference, in
[0, 1], or the error that we raise. The reference decodes with pydicom (with DCMTK's dcmdjpeg if pydicom has no decoder
and DCMTK is installed) and applies `pydicom.pixels.apply_modality_lut` and `apply_voi_lut`, polarity and padding, as in
`tests/transforms/independent_reading.py`. Images FOR PROCESSING are read with `for_processing="raw"`, the only
rendering that pydicom supports. All modalities and all kinds of mammograms are accepted.

Expected: at most 1e-6, the rounding of float32.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import warnings
from dataclasses import fields
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from mtmedformer_monai.transforms import MammogramRules, RadiographError, read_radiograph

sys.path.append(str(Path(__file__).parents[1]))

from tests.transforms.independent_reading import show_by_pydicom

ALL_PASS = {field.name: "pass" for field in fields(MammogramRules)}


def show(path: Path) -> NDArray[np.float64]:
    """Returns the reference, (H, W) in [0, 1]."""
    header, stored = decode(path)
    if stored.ndim == 3:  # pydicom returns RGB
        return stored @ np.array([0.299, 0.587, 0.114]) / (2.0**header.BitsStored - 1.0)
    return show_by_pydicom(header, stored)


def decode(path: Path) -> tuple[pydicom.Dataset, NDArray[np.integer]]:
    """Decodes header and stored values with pydicom, else with DCMTK."""
    header = pydicom.dcmread(path)
    try:
        return header, header.pixel_array
    except RuntimeError:
        if not shutil.which("dcmdjpeg"):
            raise
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.dcm"
        subprocess.run(["dcmdjpeg", str(path), str(plain)], check=True, capture_output=True)
        header = pydicom.dcmread(plain)
        return header, header.pixel_array


def compare(path: Path) -> str:
    """Returns one table cell: the difference, or the error."""
    try:
        ours, _ = read_radiograph(path, "any", for_processing="raw", rules=ALL_PASS)
    except RadiographError as error:
        return f"{type(error).__name__}: {error.args[1]}"
    try:
        theirs = show(path)
    except Exception as error:
        return f"read; the reference fails ({type(error).__name__})"
    return f"{np.abs(ours - theirs).max():.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare DICOM reading with pydicom's own functions.")
    parser.add_argument("folder", type=Path, help="searched for .dcm files, subfolders too")
    folder = parser.parse_args().folder
    warnings.simplefilter("ignore")
    print("| file | transfer syntax | largest difference, or error |\n| --- | --- | --- |")
    for path in sorted(folder.rglob("*.dcm")):
        syntax = pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID.name
        print(f"| {path.name} | {syntax.split(' (')[0].split(',')[0]} | {compare(path)} |", flush=True)


if __name__ == "__main__":
    main()
