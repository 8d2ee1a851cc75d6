"""CPU time of reading a DICOM radiograph and fitting it into the network's frame: ours against MONAI's.

    python benchmarks/reading_cost.py [FOLDER] [--size 512] [--repeats 5]

Prints one row a file: median CPU milliseconds and ratios to ours (above 1: MONAI's costs more). The files are made on
the fly, 3000 x 2500 at 16 bits: raw, RLE, JPEG lossless, JPEG-LS, JPEG 2000; a FOLDER's DICOM files are added.

Equal quality means that no detail finer than the new pixels aliases into them. MONAI's ways:
- `ITK + antialias`: LoadImage(reader=ITKReader), Resize(mode="bilinear", anti_aliasing=True);
- `pydicom + antialias`: the same after PydicomReader;
- `ITK + area`, `pydicom + area`: Resize(mode="area"), the cheapest way that does not alias.
None of them applies a VOI LUT or window, or minds padding; ours does, and is timed with it. A dash: it failed.
The last row is the quality: what is left, in percent, of a grating too fine for the new pixels; 0 is best.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import torch
from monai.transforms import Compose, EnsureChannelFirst, LoadImage, Resize, SqueezeDim
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from mtmedformer_monai.transforms import FitRadiographd, LoadRadiographd

ROWS, COLUMNS = 3000, 2500
FULL = 2**14 - 1
SYNTAXES = {"RLE": "RLELossless", "JPEG lossless": "JPEGLosslessProcess14_1", "JPEG-LS": "JPEGLSLossless"}
SYNTAXES["JPEG 2000"] = "JPEG2000Lossless"


def make_files(folder: Path) -> dict[str, Path]:
    """Writes one DX image in several transfer syntaxes."""
    files = {"raw": folder / "raw.dcm"}
    write_raw(files["raw"], make_body(), WindowCenter="6000", WindowWidth="7000", PixelPaddingValue=0)
    for name, syntax in SYNTAXES.items():
        files[name] = folder / f"{syntax}.dcm"
        compress(files["raw"], files[name], syntax)
    return files


def make_body() -> np.ndarray:
    """A smooth body with quantum noise at 14 bits."""
    y, x = np.mgrid[-1 : 1 : ROWS * 1j, -1 : 1 : COLUMNS * 1j]
    body = 9000 - 6000 * np.exp(-(x**2 + y**2)) * (1 + 0.2 * np.sin(25 * y))
    return np.asarray(np.clip(body + np.random.default_rng(0).normal(0, 40, body.shape), 0, FULL))


def make_grating() -> np.ndarray:
    """Diagonal waves of 5 pixels a period over the whole range: below the limit of 2 new pixels (11.7 old ones)."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    return np.asarray(FULL * (0.5 + 0.5 * np.sin(2 * np.pi * (0.6 * x + 0.8 * y) / 5.0)))


def write_raw(path: Path, pixels: np.ndarray, **elements: object) -> None:
    """A DX file, uncompressed, MONOCHROME1."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.826.0.1.3680043.8.498.1"
    ds.Modality, ds.PhotometricInterpretation, ds.PresentationLUTShape = "DX", "MONOCHROME1", "INVERSE"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PixelRepresentation = ROWS, COLUMNS, 1, 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 14, 13
    ds.RescaleSlope, ds.RescaleIntercept, ds.ImagerPixelSpacing = "1", "0", [0.14, 0.14]
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    ds.PixelData = pixels.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    pydicom.dcmwrite(path, ds, enforce_file_format=True)


def compress(source: Path, target: Path, syntax: str) -> None:
    """Transcodes by GDCM."""
    import gdcm

    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(source))
    reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(target))
    writer.Write()


def make_ways(size: int) -> dict[str, Callable[[Path], object]]:
    """Every way to a prepared image; ours is first."""
    ours = Compose([LoadRadiographd("image"), FitRadiographd("image", size)])
    ways: dict[str, Callable[[Path], object]] = {"ours": lambda path: ours({"image": path})["image"]}
    for reader in ("ITKReader", "PydicomReader"):
        for mode, smooth in (("bilinear", True), ("area", False)):
            name = f"{reader.removesuffix('Reader').replace('Py', 'py')} + {'antialias' if smooth else mode}"
            ways[name] = monai_way(reader, size, mode, smooth)
    return ways


def monai_way(reader: str, size: int, mode: str, smooth: bool) -> Callable[[Path], object]:
    """MONAI's own reading and resizing, aspect ratio kept."""
    load = [LoadImage(image_only=True, reader=reader), EnsureChannelFirst()]
    if reader == "ITKReader":  # (1, W, H, 1)
        load.append(SqueezeDim(dim=-1))
    chain = Compose([*load, Resize(size, size_mode="longest", mode=mode, anti_aliasing=smooth)])
    return lambda path: chain(path)


def cpu_milliseconds(ways: list[Callable[[Path], object]], path: Path, repeats: int) -> list[float]:
    """Median CPU time of each way, NaN if it fails; the ways take turns, so that a busy machine is busy for all."""
    rounds = [[time_once(way, path) for way in ways] for _ in range(repeats + 1)]  # the first one warms up
    return [statistics.median(times) for times in zip(*rounds[1:], strict=True)]


def time_once(way: Callable[[Path], object], path: Path) -> float:
    """CPU time of all threads in ms."""
    start = time.process_time()
    try:
        way(path)
    except Exception:
        return float("nan")
    return 1e3 * (time.process_time() - start)


def grating_left(way: Callable[[Path], object], path: Path) -> float:
    """Deviation of the prepared grating over the grating's own (0.5 / sqrt 2), in percent, away from the edges."""
    values = np.asarray(way(path), dtype=np.float64)[0]
    values = values / (FULL if values.max() > 1.0 else 1.0)
    height, width = values.shape
    inner = values[height // 4 : -height // 4, width // 4 : -width // 4]
    return float(100.0 * inner.std() / np.sqrt(0.125))


def print_row(name: str, costs: list[float]) -> None:
    """Ours in milliseconds; the others in milliseconds and as multiples of ours."""
    ours, others = costs[0], costs[1:]
    cells = ["-" if cost != cost else f"{cost:7.0f} ({cost / ours:4.1f}x)" for cost in others]
    print(f"{name[:34]:34} {'-' if ours != ours else f'{ours:.0f}':>7} " + " ".join(f"{cell:>21}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU time of reading and fitting: ours against MONAI's.")
    parser.add_argument("folder", nargs="?", type=Path, help="a folder of DICOM files, in addition")
    parser.add_argument("--size", type=int, default=512, help="longest side of the prepared image")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    ways = make_ways(options.size)
    with tempfile.TemporaryDirectory() as folder:
        files = make_files(Path(folder))
        if options.folder:
            files |= {path.name: path for path in sorted(options.folder.rglob("*.dcm"))}
        print(f"CPU ms to {options.size} px, medians of {options.repeats}, one thread; (x) multiples of ours")
        print(f"{'file':34} {'ours':>7} " + " ".join(f"{name:>21}" for name in list(ways)[1:]))
        for name, path in files.items():
            print_row(name, cpu_milliseconds(list(ways.values()), path, options.repeats))
        grating = Path(folder) / "grating.dcm"
        write_raw(grating, make_grating())
        left = [grating_left(way, grating) for way in ways.values()]
        print(f"{'a fine grating leaves, %':34} {left[0]:7.2f} " + " ".join(f"{cell:>21.2f}" for cell in left[1:]))


if __name__ == "__main__":
    main()
