"""Compares the CPU time from a radiograph's file to the network's input: ours, MONAI's readers and SimpleITK.

    pip install SimpleITK  # optional: without it, its column is omitted
    python benchmarks/reading_cost.py [FOLDER] [--repeats 7] [--only NAME]

Prints a Markdown table with one row per file: median CPU milliseconds of all threads, and the ratio of ours to the
fastest other method (below 1: ours is faster). All methods alternate on each file, so that load on the machine affects
all of them alike. A method's transforms are called one after the other, without the cost of `Compose`. The files are
generated: a mammogram of 4096 x 3328 at 12 bits (a noisy breast on a film's black background) in every kind of transfer
syntax, to 1024 x 832; a chest X-ray of 1000 x 1000 to 512 x 512 and one of 224 x 224 at its original size, as DICOM,
PNG and JPEG. A FOLDER's DICOM files are added, resized to 512 pixels.

The other methods read with MONAI's LoadImage (ITKReader; PydicomReader for DICOM, PILReader for pictures) or with
SimpleITK.ReadImage, and resize with mode "area": the cheapest of MONAI's modes without aliasing. None of them applies a
VOI LUT or window, or handles padding; ours does, and its time includes it. A dash means failure. The last row shows
quality: the remaining contrast, in percent, of a grating too fine for the new pixels; 0 is best.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import torch
from monai.transforms import EnsureChannelFirst, LoadImage, Resize, SqueezeDim
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.dataset import FileMetaDataset
from torch.nn import functional

from mtmedformer_monai.transforms import Letterboxd, LoadRadiographd

sys.path.append(str(Path(__file__).parents[1]))

from tests.conftest import make_header, transcode

Size = tuple[int, int]
Method = Callable[[Path], object]

MAMMOGRAM, CANVAS = (4096, 3328), (1024, 832)
SYNTAXES = {
    "raw": uid.ExplicitVRLittleEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "RLE": uid.RLELossless,
    "JPEG lossless": uid.JPEGLosslessSV1,
    "JPEG-LS": uid.JPEGLSLossless,
    "JPEG 2000": uid.JPEG2000Lossless,
}


def make_files(folder: Path) -> dict[str, tuple[Path, Size]]:
    """Returns every file with its target size."""
    breast = make_breast()
    files = {f"mammogram, {name}": (folder / f"{name}.dcm", CANVAS) for name in SYNTAXES}
    for name, syntax in SYNTAXES.items():
        write_dicom(folder / f"{name}.dcm", breast, 12, "MG", syntax)
    baseline = folder / "baseline.dcm"
    write_dicom(baseline, (breast >> 4).astype(np.uint8), 8, "MG", uid.JPEGBaseline8Bit)
    files["mammogram, JPEG baseline, 8 bits"] = (baseline, CANVAS)
    for side, target in ((1000, 512), (224, 224)):
        chest = make_chest(side)
        write_dicom(folder / f"chest{side}.dcm", chest, 12, "DX", uid.ExplicitVRLittleEndian)
        for kind in ("png", "jpg"):
            Image.fromarray((chest >> 4).astype(np.uint8)).save(folder / f"chest{side}.{kind}", quality=90)
        names = {"dcm": "DICOM, raw", "png": "PNG", "jpg": "JPEG"}
        for kind, name in names.items():
            files[f"chest {side}, {name}"] = (folder / f"chest{side}.{kind}", (target, target))
    return files


def make_breast() -> NDArray[np.uint16]:
    """Returns tissue with quantum noise on the left, black film with grain on the right: 12 bits."""
    random, (rows, columns) = np.random.default_rng(0), MAMMOGRAM
    y, x = np.mgrid[-1 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    depth = 1.0 - (y / 0.8) ** 2 - (x / 0.6) ** 2
    tissue = 1500 + 1200 * np.sqrt(np.clip(depth, 0, 1)) + 150 * np.sin(40 * y) * np.sin(37 * x)
    values = np.where(depth > 0, tissue + random.normal(0, 25, MAMMOGRAM), random.normal(20, 3, MAMMOGRAM))
    return np.asarray(np.clip(values, 0, 4095), dtype=np.uint16)


def make_chest(side: int) -> NDArray[np.uint16]:
    """Returns a smooth body with quantum noise at 12 bits."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    body = 3000 - 2000 * np.exp(-(x**2 + y**2)) * (1 + 0.2 * np.sin(25 * y))
    return np.asarray(np.clip(body + np.random.default_rng(0).normal(0, 30, body.shape), 0, 4095), dtype=np.uint16)


def make_grating() -> NDArray[np.uint16]:
    """Returns diagonal waves with a period of 5 pixels over 12 bits: below the limit of 2 new pixels (8 old ones)."""
    y, x = np.mgrid[: MAMMOGRAM[0], : MAMMOGRAM[1]]
    return np.asarray(4095 * (0.5 + 0.5 * np.sin(2 * np.pi * (0.6 * x + 0.8 * y) / 5.0)), dtype=np.uint16)


def write_dicom(path: Path, pixels: NDArray[np.integer], bits: int, modality: str, syntax: str, **more: object) -> None:
    """Writes a file FOR PRESENTATION, with a window unless `more` removes it."""
    look = {"WindowCenter": str(2 ** (bits - 1)), "WindowWidth": str(2**bits), "RescaleSlope": "1"}
    header = make_header(
        pixels, bits, "MONOCHROME2", modality, RescaleIntercept="0", ImagerPixelSpacing=[0.07, 0.07], **look | more
    )
    header.file_meta, compressed = FileMetaDataset(), uid.UID(syntax).is_encapsulated
    header.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian if compressed else syntax
    header.save_as(path, enforce_file_format=True)
    if compressed:
        transcode(path, syntax)


def make_methods(path: Path, size: Size) -> dict[str, Method]:
    """Returns all methods that prepare an image of a size; ours is first."""
    other = "PydicomReader" if path.suffix == ".dcm" else "PILReader"
    methods = {
        "ours": our_method(size),
        "ITKReader": monai_method("ITKReader", size),
        "other": monai_method(other, size),
    }
    if importlib.util.find_spec("SimpleITK"):
        methods["SimpleITK"] = simpleitk_method(size)
    return methods


def our_method(size: Size) -> Method:
    load, fit = LoadRadiographd("image", modalities="any"), Letterboxd("image", size)
    return lambda path: fit(load({"image": path}))["image"]


def monai_method(reader: str, size: Size) -> Method:
    """Reads and resizes with MONAI; `EnsureChannelFirst` returns (1, W, H) or, with ITK on DICOM, (1, W, H, 1)."""
    load, first = LoadImage(image_only=True, reader=reader), EnsureChannelFirst(channel_dim="no_channel")
    squeeze, resize = SqueezeDim(dim=-1), Resize(size[::-1], mode="area")

    def read(path: Path) -> object:
        image = first(load(path))
        return resize(squeeze(image) if image.ndim == 4 else image)

    return read


def simpleitk_method(size: Size) -> Method:
    import SimpleITK

    def read(path: Path) -> object:
        values = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).squeeze()
        image = torch.from_numpy(values.astype(np.float32))[None, None]
        return functional.interpolate(image, size, mode="area")[0]

    return read


def cpu_milliseconds(methods: dict[str, Method], path: Path, repeats: int) -> dict[str, float]:
    """Returns the median CPU time of each method; NaN if it fails."""
    rounds = [
        [time_once(method, path) for method in methods.values()] for _ in range(repeats + 1)
    ]  # the first repeat is a warmup
    return dict(zip(methods, map(statistics.median, zip(*rounds[1:], strict=True)), strict=True))


def time_once(method: Method, path: Path) -> float:
    """Returns the CPU time of all threads in ms."""
    start = time.process_time()
    try:
        method(path)
    except Exception:
        return float("nan")
    return 1e3 * (time.process_time() - start)


def grating_left(method: Method, path: Path) -> float:
    """Returns the remaining contrast of the grating relative to the original, in percent.

    The contrast is the standard deviation, away from the edges; that of the original is 0.5 / sqrt 2.
    """
    values = np.asarray(method(path), dtype=np.float64)[0]
    values = values / (4095 if values.max() > 1.0 else 1.0)
    inner = values[100:-100, 100:-100]
    return float(100.0 * inner.std() / np.sqrt(0.125))


def print_row(name: str, costs: dict[str, float], digits: int = 0) -> None:
    cells = ["-" if cost != cost else f"{cost:.{digits}f}" for cost in costs.values()]
    others = [cost for method, cost in costs.items() if method != "ours" and cost == cost]
    ratio = f"{costs['ours'] / min(others):.2f}" if others else "-"
    print(f"| {name} | {' | '.join(cells)} | {ratio} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU time of reading and resizing: ours against MONAI's, SimpleITK.")
    parser.add_argument("folder", nargs="?", type=Path, help="folder of additional DICOM files")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", default="", help="only rows whose name contains this text")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        files = make_files(Path(folder))
        for path in sorted(options.folder.rglob("*.dcm")) if options.folder else ():
            header = pydicom.dcmread(path, stop_before_pixels=True)
            scale = 512 / max(header.Rows, header.Columns)
            files[path.name] = (path, (round(header.Rows * scale), round(header.Columns * scale)))
        grating = Path(folder) / "grating.dcm"
        write_dicom(grating, make_grating(), 12, "DX", uid.ExplicitVRLittleEndian)
        names = list(make_methods(grating, CANVAS))
        print(f"| CPU ms | {' | '.join(names).replace('other', 'PydicomReader, PILReader')} | ours : best other |")
        print(f"| --- |{' ---: |' * (len(names) + 1)}")
        for name, (path, size) in files.items():
            if options.only in name:
                costs = cpu_milliseconds(make_methods(path, size), path, options.repeats)
                print_row(name, costs, 0 if costs["ours"] > 10 else 1)
        print_row(
            "remaining contrast of a fine grating, %",
            {k: grating_left(w, grating) for k, w in make_methods(grating, CANVAS).items()},
            2,
        )


if __name__ == "__main__":
    main()
