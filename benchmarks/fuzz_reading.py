"""Reads damaged files by the thousand: each is read, or refused by a documented error.

    python benchmarks/fuzz_reading.py --minutes 5 [--seed 0] [--offenders fuzz_offenders] [--memory-mb 1024]

The files that it starts from are those of the tests' matrix (every transfer syntax, photometric interpretation, depth
and LUT), mammograms FOR PROCESSING, PNG, JPEG, NIfTI and .npy. Each is damaged: bytes flipped, set to extremes, cut
off, cut out, doubled, joined with another file's; DICOM elements set to absurd values. They are read in a process of
its own under a limit of memory (`RLIMIT_AS`, above what the process has once it is ready) and of time, so that a
crash, a hang or a flood of memory shows as what it is.

Prints counts by outcome, and every offender: an error that is no `RadiographError`, a crash, a hang (over 30 s), an
image that is no float32 (H, W) in [0, 1]. Offending files are kept in the folder `--offenders`.

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

from mtmedformer_monai.transforms import MammogramRules, RadiographError, read_radiograph
from mtmedformer_monai.transforms.read_mask import read_mask

sys.path.append(str(Path(__file__).parents[1]))

from tests.transforms.damaged_files import make_seeds, mutate

HANG_S, START_S, SLOW_S = 30, 120, 5.0
ALL_PASS = {field.name: "pass" for field in fields(MammogramRules)}


def work(memory_mb: int) -> None:
    """The process that reads: a path a line comes in, an outcome a line goes out. The first one is sound."""
    for line in sys.stdin:
        start = time.process_time()
        outcome = read(Path(line.strip()))
        seconds = time.process_time() - start
        if memory_mb:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + memory_mb * 2**20,) * 2)
            memory_mb, seconds = 0, 0.0  # once, when the first file had imported what is imported late
        print(outcome if seconds < SLOW_S else f"! slow, {seconds:.0f} s ({outcome})", flush=True)


def read(path: Path) -> str:
    """The outcome for a file; a picture may be an image or a mask."""
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
    with contextlib.suppress(RadiographError):
        read_mask(path)


class Reader:
    """A process that reads, started again after it died or hung."""

    def __init__(self, sound: Path, memory_mb: int) -> None:
        self.sound = sound
        self.command = [sys.executable, __file__, "--work", "--memory-mb", str(memory_mb)]
        self.process: subprocess.Popen[str] | None = None

    def outcome(self, path: Path) -> str:
        """What reading a file comes to."""
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
        """The answer, empty where the process died, None where it takes longer."""
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
    """Damages and reads until the time is up; counts by outcome."""
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
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as seed_folder, tempfile.TemporaryDirectory() as folder:
        counts = fuzz(options, Path(seed_folder), Path(folder))
    print(f"{sum(counts.values()):,} files in {options.minutes} minutes, seed {options.seed}")
    for outcome, count in counts.most_common():
        print(f"{count:8,} {outcome}")


if __name__ == "__main__":
    main()
