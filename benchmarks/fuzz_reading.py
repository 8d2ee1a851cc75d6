"""Reads damaged files by the thousand: each is read, or refused by a documented error.

    python benchmarks/fuzz_reading.py --minutes 5 [--seed 0] [--offenders fuzz_offenders] [--memory-mb 1024]

The files that it starts from are those of the tests' matrix (every transfer syntax, photometric interpretation, depth
and LUT), mammograms FOR PROCESSING, PNG, JPEG, NIfTI and .npy. Each is damaged: bytes flipped, set to extremes, cut
off, cut out, doubled, joined with another file's; DICOM elements set to absurd values. Batches are read in a process
of its own under a limit of memory (`RLIMIT_AS`, above what the process has once it is ready) and of time, so that a
crash, a hang or a flood of memory shows as what it is.

Prints counts by outcome, and every offender: an error that is no `RadiographError`, a crash, a hang (over 30 s), an
image that is no float32 (H, W) in [0, 1]. Offending files are kept in the folder `--offenders`.

Expected: no offender.
"""

from __future__ import annotations

import argparse
import collections
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))

BATCH, HANG_S, SLOW_S = 400, 30, 5.0
EXTREMES = [0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF]
ABSURD = {
    "Rows": [0, 1, 65535],
    "Columns": [0, 1, 65535],
    "NumberOfFrames": ["0", "2", "2147483647", "-1"],
    "SamplesPerPixel": [0, 2, 3, 65535],
    "BitsAllocated": [0, 1, 8, 12, 16, 32, 64, 65535],
    "BitsStored": [0, 1, 7, 16, 17, 65535],
    "HighBit": [0, 15, 65535],
    "PixelRepresentation": [0, 1, 7],
    "PlanarConfiguration": [0, 1, 9],
    "PhotometricInterpretation": ["", "MONOCHROME1", "RGB", "YBR_FULL_422", "PALETTE COLOR", "HSV"],
    "RescaleSlope": ["0", "-1", "1e308", "-1e308", "1e-308"],
    "RescaleIntercept": ["1e308", "-1e308"],
    "WindowWidth": ["-5", "0", "1e-30", "1e308", ["1", "-1"]],
    "WindowCenter": ["1e308", "-1e308", "0"],
    "VOILUTFunction": ["SIGMOID", "LINEAR_EXACT", "??"],
    "PixelPaddingValue": [0, 65535],
    "PixelPaddingRangeLimit": [0, 65535],
    "PresentationIntentType": ["FOR PROCESSING"],
    "PixelIntensityRelationshipSign": [1],
    "Modality": ["MG", "CR"],
    "ImagerPixelSpacing": [["0", "0"], ["1e-300", "1"], "1"],
}


def make_seeds(folder: Path) -> dict[str, bytes]:
    """Sound files, by name."""
    warnings.simplefilter("ignore")
    make_dicom_seeds(folder)
    make_picture_seeds(folder)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def make_dicom_seeds(folder: Path) -> None:
    """The tests' matrix, the streams that no encoder writes, and mammograms FOR PROCESSING."""
    import pydicom

    from tests.transforms import test_reading_matrix_streams as streams
    from tests.transforms.reading_matrix import covering_cases, make_samples, write_case

    for index, case in enumerate(covering_cases()):
        write_case(folder / f"case{index}.dcm", case, make_samples(case))
        if index < 20:
            data = pydicom.dcmread(folder / f"case{index}.dcm")
            data.Modality, data.PresentationIntentType, data.PixelIntensityRelationshipSign = "MG", "FOR PROCESSING", 1
            data.save_as(folder / f"raw{index}.dcm")
    for index, (syntax, text) in enumerate(
        [
            (streams.uid.JPEGExtended12Bit, streams.JPEG_12),
            (streams.uid.JPEGLossless, streams.LOSSLESS_OF_PREDICTOR_5),
            (streams.uid.HTJ2K, streams.HTJ2K),
        ]
    ):
        streams.write_stream(folder / f"stream{index}.dcm", syntax, text)


def make_picture_seeds(folder: Path) -> None:
    """PNG and JPEG of several modes, NIfTI of both versions, .npy."""
    import nibabel
    from PIL import Image

    random = np.random.default_rng(0)
    gray, color = (
        random.integers(0, 256, (14, 18), dtype=np.uint8),
        random.integers(0, 256, (14, 18, 4), dtype=np.uint8),
    )
    pictures = [Image.fromarray(gray), Image.fromarray(color[..., :3]), Image.fromarray(color)]
    pictures += [Image.fromarray(gray.astype(np.uint16) * 257), Image.fromarray(gray > 99), pictures[1].quantize(16)]
    for index, picture in enumerate(pictures):
        picture.save(folder / f"picture{index}.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures[0].save(folder / "gray.jpg", exif=exif)
    pictures[1].save(folder / "color.jpg", progressive=True)
    pictures[1].convert("CMYK").save(folder / "cmyk.jpg")
    for name, kind in {"one": nibabel.Nifti1Image, "two": nibabel.Nifti2Image}.items():
        kind(gray.astype(np.int16), np.eye(4)).to_filename(folder / f"{name}.nii")
        kind(gray.astype(np.float32)[..., None], np.eye(4)).to_filename(folder / f"{name}.nii.gz")
    np.save(folder / "mask.npy", gray > 99)


def mutate(name: str, seeds: dict[str, bytes], random: np.random.Generator) -> bytes:
    """One to four kinds of damage."""
    data = seeds[name]
    if name.endswith(".dcm") and random.random() < 0.3:
        data = set_absurd(data, random)
    for _ in range(int(random.integers(0, 4)) + (data is seeds[name])):
        damage = DAMAGES[int(random.integers(len(DAMAGES)))]
        data = damage(data, seeds, random) if data else data
    return data


def flip_bytes(data: bytes, _: dict[str, bytes], random: np.random.Generator) -> bytes:
    damaged = bytearray(data)
    for _ in range(int(random.integers(1, 12))):
        damaged[place(data, random)] = int(random.integers(256))
    return bytes(damaged)


def set_extremes(data: bytes, _: dict[str, bytes], random: np.random.Generator) -> bytes:
    start, count = place(data, random), int(random.choice([1, 2, 4, 8]))
    return data[:start] + bytes([int(random.choice(EXTREMES))]) * count + data[start + count :]


def cut_off(data: bytes, _: dict[str, bytes], random: np.random.Generator) -> bytes:
    return data[: place(data, random)]


def cut_out(data: bytes, _: dict[str, bytes], random: np.random.Generator) -> bytes:
    start = place(data, random)
    return data[:start] + data[start + int(random.integers(1, 64)) :]


def double(data: bytes, _: dict[str, bytes], random: np.random.Generator) -> bytes:
    start, count = place(data, random), int(random.integers(1, 200))
    return data[: start + count] + data[start:]


def join(data: bytes, seeds: dict[str, bytes], random: np.random.Generator) -> bytes:
    other = seeds[str(random.choice(list(seeds)))]
    return data[: place(data, random)] + other[place(other, random) :]


DAMAGES: list[Callable[[bytes, dict[str, bytes], np.random.Generator], bytes]]
DAMAGES = [flip_bytes, flip_bytes, set_extremes, set_extremes, cut_off, cut_out, double, join]


def place(data: bytes, random: np.random.Generator) -> int:
    """An offset; every other one near the end or behind the preamble, where the stream and the meta group stand."""
    kind = random.random()
    if kind < 0.25 and len(data) > 700:
        return int(random.integers(128, 700))
    if kind < 0.5:
        return int(random.integers(max(0, len(data) - 400), len(data)))
    return int(random.integers(len(data)))


def set_absurd(data: bytes, random: np.random.Generator) -> bytes:
    """One to three DICOM elements set to what makes no sense."""
    import io

    import pydicom

    header = pydicom.dcmread(io.BytesIO(data))
    for keyword in random.choice(list(ABSURD), int(random.integers(1, 4)), replace=False):
        values = ABSURD[str(keyword)]
        setattr(header, str(keyword), values[int(random.integers(len(values)))])
    for sequence in ("VOILUTSequence", "ModalityLUTSequence"):
        if sequence in header and random.random() < 0.5:
            lie = [int(random.choice([0, 1, 4000, 65535])), int(random.integers(0, 65536)), int(random.integers(0, 40))]
            header[sequence].value[0].add_new("LUTDescriptor", "US", lie)
    buffer = io.BytesIO()
    try:
        header.save_as(buffer)
    except Exception:  # what pydicom does not write
        return data
    return buffer.getvalue()


def work(memory_mb: int) -> None:
    """The process that reads: a path a line comes in, an outcome a line goes out."""
    from mtmedformer_monai.transforms import MammogramRules, RadiographError, read_radiograph
    from mtmedformer_monai.transforms.read_mask import read_mask

    rules = {field.name: "pass" for field in fields(MammogramRules)}
    read_radiograph(sys.stdin.readline().strip(), "any", rules=rules)  # imports what is imported late
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory_mb * 2**20,) * 2)
    for line in sys.stdin:
        path, start = Path(line.strip()), time.process_time()
        try:
            if path.suffix == ".dcm":
                image, _ = read_radiograph(path, "any", rules=rules)
                sound = image.ndim == 2 and image.dtype == np.float32 and 0.0 <= image.min() <= image.max() <= 1.0
                outcome = "read" if sound else "! unsound image"
            else:
                outcome = read_both(path, read_radiograph, read_mask)
        except RadiographError as error:
            outcome = type(error).__name__
        except BaseException as error:
            outcome = f"! {type(error).__name__}: {error}"[:150].replace("\n", " ")
        seconds = time.process_time() - start
        print(outcome if seconds < SLOW_S else f"! slow, {seconds:.0f} s ({outcome})", flush=True)


def read_both(path: Path, read_image: Callable[..., object], read_mask: Callable[..., object]) -> str:
    """A picture that may be an image or a mask."""
    from mtmedformer_monai.transforms import RadiographError

    outcomes = []
    for read in (read_image, read_mask):
        try:
            read(path)
            outcomes.append("read")
        except RadiographError as error:
            outcomes.append(type(error).__name__)
    return outcomes[0]


def read_batch(paths: list[Path], warm_up: Path, memory_mb: int) -> Iterator[tuple[Path, str]]:
    """Outcomes; a process that dies or hangs is followed by another one, for the paths that are left."""
    while paths:
        command = [sys.executable, __file__, "--work", "--memory-mb", str(memory_mb)]
        worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
        )
        assert worker.stdin is not None and worker.stdout is not None  # noqa: PT018
        worker.stdin.write(f"{warm_up}\n")
        for _ in range(len(paths)):
            worker.stdin.write(f"{paths[0]}\n")
            ready, _, _ = select.select([worker.stdout], [], [], HANG_S + 60)
            outcome = worker.stdout.readline().strip() if ready else "! hang"
            if outcome in {"", "! hang"}:
                worker.kill()
                code = worker.wait()
                yield paths.pop(0), outcome or f"! crash, {signal.Signals(-code).name if code < 0 else code}"
                break
            yield paths.pop(0), outcome
        else:
            worker.stdin.close()
            worker.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Reads damaged files by the thousand.")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--offenders", type=Path, default=Path("fuzz_offenders"))
    parser.add_argument("--memory-mb", type=int, default=1024, help="above what the process has once it is ready")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.memory_mb)
        return
    random, counts, end = (
        np.random.default_rng(options.seed),
        collections.Counter(),
        time.monotonic() + 60 * options.minutes,
    )
    with tempfile.TemporaryDirectory() as seed_folder, tempfile.TemporaryDirectory() as folder:
        seeds = make_seeds(Path(seed_folder))
        while time.monotonic() < end:
            paths = []
            for index in range(BATCH):
                name = str(random.choice(list(seeds)))
                paths.append(Path(folder) / f"{index}_{name}")
                paths[-1].write_bytes(mutate(name, seeds, random))
            for path, outcome in read_batch(paths, Path(seed_folder) / "case0.dcm", options.memory_mb):
                counts[outcome.split(":")[0]] += 1
                if outcome.startswith("!"):
                    options.offenders.mkdir(exist_ok=True)
                    kept = options.offenders / f"{options.seed}_{sum(counts.values())}_{path.name}"
                    kept.write_bytes(path.read_bytes())
                    print(f"{outcome}  {kept}", flush=True)
    print(f"{sum(counts.values()):,} files in {options.minutes} minutes, seed {options.seed}")
    for outcome, count in counts.most_common():
        print(f"{count:8,} {outcome}")


if __name__ == "__main__":
    main()
