"""Reads thousands of damaged files: each must be read, or rejected with a documented error.

    python benchmarks/fuzz_reading.py --minutes 5 [--seed 0] [--offenders fuzz_offenders] [--memory-mb 1024]

The original files are those of the test matrix (every transfer syntax, photometric interpretation, depth and LUT),
mammograms FOR PROCESSING, PNG, JPEG, NIfTI and .npy. Each is damaged: bytes are flipped, set to extreme values,
truncated, removed, duplicated or joined with another file's; DICOM elements are set to absurd values. The files are
read in a separate process with limits on memory (`RLIMIT_AS`, above the usage of the initialized process) and time, so
that a crash, a hang or excessive memory usage is detected.

Prints counts by outcome, and every offender: an error other than `RadiographError`, a crash, a hang (over 30 s), an
image that is not float32 (H, W) in [0, 1]. Offending files are kept in the folder `--offenders`.

Expected: no offender.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import fields
from pathlib import Path

import numpy as np

from mtmedformer_monai.transforms import AnnotationError, MammogramRules, RadiographError, read_radiograph
from mtmedformer_monai.transforms.read_mask import read_mask

sys.path.append(str(Path(__file__).parents[1]))

from tests.transforms.damaged_files import make_seeds, mutate

HANG_S, START_S, SLOW_S = 30, 120, 5.0
ALL_PASS = {field.name: "pass" for field in fields(MammogramRules)}


def work(memory_mb: int) -> None:
    """The reading process: receives one path per line and prints one outcome per line. The first file is intact."""
    for line in sys.stdin:
        start = time.process_time()
        outcome = read(Path(line.strip()))
        seconds = time.process_time() - start
        if memory_mb:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + memory_mb * 2**20,) * 2)
            memory_mb, seconds = 0, 0.0  # once, after the first file has triggered late imports
        print(outcome if seconds < SLOW_S else f"! slow, {seconds:.0f} s ({outcome})", flush=True)


def read(path: Path) -> str:
    """Returns the outcome for a file; a picture may be an image or a mask."""
    try:
        if path.suffix != ".dcm":
            read_as_mask(path)
        image, _ = read_radiograph(path, "any", rules=ALL_PASS)
    except RadiographError as error:
        return type(error).__name__
    except BaseException as error:
        return f"! {type(error).__name__}: {error}"[:150].replace("\n", " ")
    sound = image.ndim == 2 and image.dtype == np.float32 and 0.0 <= image.min() <= image.max() <= 1.0
    return "read" if sound else "! unsound image"


def read_as_mask(path: Path) -> None:
    with contextlib.suppress(RadiographError, AnnotationError):
        read_mask(path)


class Reader:
    """A reading process, which is restarted after a crash or a hang."""

    def __init__(self, sound: Path, memory_mb: int) -> None:
        self.sound = sound
        self.command = [sys.executable, __file__, "--work", "--memory-mb", str(memory_mb)]
        self.process: subprocess.Popen[str] | None = None

    def outcome(self, path: Path) -> str:
        """Returns the outcome of reading a file."""
        if self.process is None:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            self._ask(self.process, self.sound, START_S)
        answer = self._ask(self.process, path, HANG_S)
        if not answer:
            self.process.kill()
            code = self.process.wait()
            self.process = None
            if answer is None:
                return "! hang"
            return f"! crash, {signal.Signals(-code).name if code < 0 else code}"
        return answer

    def _ask(self, process: subprocess.Popen[str], path: Path, seconds: float) -> str | None:
        """Returns the answer; empty if the process died, None after a timeout."""
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the reading process has no pipes")
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        return process.stdout.readline().strip() if ready else None

    def close(self) -> None:
        """Ends the process."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait()


def fuzz(options: argparse.Namespace, seed_folder: Path, folder: Path) -> collections.Counter[str]:
    """Damages and reads files until the time is up; returns counts by outcome."""
    counts: collections.Counter[str] = collections.Counter()
    seeds, random = make_seeds(seed_folder), np.random.default_rng(options.seed)
    reader, end = Reader(seed_folder / "case0.dcm", options.memory_mb), time.monotonic() + 60 * options.minutes
    while time.monotonic() < end:
        name = str(random.choice(list(seeds)))
        path = folder / name
        path.write_bytes(mutate(name, seeds, random))
        outcome = reader.outcome(path)
        counts[outcome.split(":")[0]] += 1
        if outcome.startswith("!"):
            options.offenders.mkdir(exist_ok=True)
            kept = options.offenders / f"{options.seed}_{sum(counts.values())}_{name}"
            kept.write_bytes(path.read_bytes())
            print(f"{outcome}  {kept}", flush=True)
    reader.close()
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description="Read thousands of damaged files.")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--offenders", type=Path, default=Path("fuzz_offenders"))
    parser.add_argument(
        "--memory-mb",
        type=int,
        default=1024,
        help="limit of memory above the usage of the initialized process (default %(default)s)",
    )
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.memory_mb)
        return
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as seed_folder, tempfile.TemporaryDirectory() as folder:
        counts = fuzz(options, Path(seed_folder), Path(folder))
    print(f"{sum(counts.values()):,} files in {options.minutes} minutes, seed {options.seed}")
    for outcome, count in counts.most_common():
        print(f"{count:8,} {outcome}")


if __name__ == "__main__":
    main()
