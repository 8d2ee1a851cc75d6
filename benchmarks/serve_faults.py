"""Disturbs `mtmedformer serve` in every way that it should survive, and counts the results of each image.

    python benchmarks/serve_faults.py --images 40

Starts an Orthanc (Debian: orthanc, orthanc-dicomweb) and, for each fault, a worker in a process of its own. A
stand-in for the network writes two small DICOM objects per image, so that the worker itself is measured and not
inference. A fault lasts `--fault-seconds`; then the worker is left alone until all images are processed. Prints a
Markdown table: the number of images, of those with exactly one set of results, with none or a part, of results that
were sent twice, how often the worker was started, and seconds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import requests
from command_line import make_parser
from result_tables import table_header, table_row

sys.path.insert(0, str(Path(__file__).parents[1]))

from mtmedformer_monai.deploy.headers.uids import derived_uid
from mtmedformer_monai.deploy.serve.archive import DicomWebArchive
from mtmedformer_monai.deploy.serve.config import ServeConfig
from mtmedformer_monai.deploy.serve.errors import ArchiveRefusedError, ArchiveUnavailableError
from mtmedformer_monai.deploy.serve.service import Model, open_service
from tests.deploy.serve.chest_images import uid, write_chest
from tests.deploy.serve.conftest import SECRET, config_for, with_limits
from tests.deploy.serve.fake_model import MODEL, RESULT, FakeModel
from tests.deploy.serve.orthanc import PASSWORD, Orthanc

KINDS = ("first", "second")
COLUMNS = ("images", "exactly one set", "no or part of a set", "sent twice", "starts", "wall s")
SMALL_FILE = 40_000
"""Bytes that a file of a worker with a full disk may have: less than the database and its log need."""


@dataclass(frozen=True)
class World:
    """What a fault acts on.

    Attributes:
        archive: the archive.
        config: of the worker.
        folder: for images.
        numbers: of the images.
        generator: draws when things happen.
    """

    archive: Orthanc
    config: ServeConfig
    folder: Path
    numbers: range
    generator: random.Random

    def send(self, numbers: range | list[int]) -> None:
        """Sends images to the archive."""
        for number in numbers:
            self.archive.send(write_chest(self.folder, number))


def work(config: ServeConfig, fault: str, sent: Path, seed: int) -> None:
    """Runs a worker in this process, with the part of a fault that happens inside it."""
    generator = random.Random(seed)
    store = DicomWebArchive.store

    def counted(self: DicomWebArchive, item: object) -> None:
        if fault == "store refused" and generator.random() < 0.5:
            raise ArchiveRefusedError("HTTP 500 or 409")
        store(self, item)
        with sent.open("a") as file:
            file.write(f"{item.uid}\n")
        if fault == "answer lost" and generator.random() < 0.5:
            raise ArchiveUnavailableError("the answer was lost")

    DicomWebArchive.store = counted
    if fault == "disk full":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_FILE, resource.RLIM_INFINITY))
    stop = SimpleNamespace(is_set=lambda: False, wait=time.sleep)
    with open_service(config, Model(FakeModel(KINDS), MODEL)) as service:
        service.run(stop)


def start(world: World, fault: str, seed: int) -> multiprocessing.Process:
    """Starts a worker."""
    process = multiprocessing.get_context("fork").Process(
        target=work, args=(world.config, fault, world.folder / "sent", seed)
    )
    process.start()
    return process


def kill(process: multiprocessing.Process) -> None:
    """Ends a worker without notice."""
    process.kill()
    process.join()


def expected(world: World) -> set[str]:
    """Returns the UIDs of the results that there should be."""
    return {derived_uid(uid(number), kind, MODEL) for number in world.numbers for kind in KINDS}


def is_done(world: World) -> bool:
    """Returns whether all results are in the archive."""
    with suppress(requests.RequestException):
        return expected(world) <= set(world.archive.stored(RESULT))
    return False


def run(world: World, fault: str, fault_seconds: float, limit: float) -> list[str]:
    """Runs one fault, and returns the cells of its row."""
    began, starts, is_calm = time.monotonic(), 0, False
    disturb: Callable[[World, float], None] = DISTURBANCES.get(fault, lambda world, seconds: None)
    world.send(world.numbers)
    process = None
    while not is_done(world) and time.monotonic() - began < limit:
        seconds = time.monotonic() - began
        is_over = seconds > fault_seconds
        if process is not None and is_over and not is_calm:
            kill(process)
            is_calm = True
        if process is None or not process.is_alive():
            process, starts = start(world, "none" if is_calm else fault, starts), starts + 1
        if fault == "kill -9" and not is_over:
            time.sleep(world.generator.uniform(0.3, 5.0))
            kill(process)
        elif not is_over:
            disturb(world, seconds)
        time.sleep(0.3)
    wall = time.monotonic() - began
    time.sleep(1.0)  # what would be repeated now is seen below
    if process is not None and process.is_alive():
        kill(process)
    stored = Counter(world.archive.stored(RESULT))
    whole = sum(all(stored[derived_uid(uid(n), kind, MODEL)] == 1 for kind in KINDS) for n in world.numbers)
    log = world.folder / "sent"
    sent = Counter(log.read_text().split() if log.exists() else [])
    surplus = sum(count - 1 for count in sent.values()) + len(set(stored) - expected(world))
    total = len(world.numbers)
    return [*map(str, (total, whole, total - whole, surplus, starts)), f"{wall:.0f}"]


def _away(world: World, seconds: float) -> None:
    """The archive is stopped for three seconds, twice."""
    for begin in (1.0, 8.0):
        if begin < seconds < begin + 0.5:
            world.archive.stop()
            time.sleep(3.0)
            world.archive.start()


def _duplicates(world: World, seconds: float) -> None:
    """Images are sent again and again."""
    world.send([world.generator.choice(world.numbers) for _ in range(3)])


def _cleared(world: World, seconds: float) -> None:
    """The change log is cleared after its images were seen."""
    if 3.0 < seconds < 3.5:
        world.archive.clear_log()


DISTURBANCES = {"archive away": _away, "duplicates": _duplicates, "change log cleared": _cleared}
FAULTS = ("none", "kill -9", "archive away", "store refused", "answer lost", "disk full", *list(DISTURBANCES)[1:])


def main() -> None:
    """Runs all faults, and prints the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--only", nargs="*", choices=FAULTS, default=FAULTS, metavar="FAULT")
    parser.add_argument("--fault-seconds", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=300.0, help="limit of each row")
    options = parser.parse_args()
    os.environ[SECRET] = PASSWORD
    import highdicom  # noqa: F401  before the workers fork, so that they are killed at work and not while importing
    import pydicom  # noqa: F401

    print(table_header("fault", COLUMNS))
    with tempfile.TemporaryDirectory() as folder:
        for index, fault in enumerate(options.only):
            print(table_row(fault, _row(Path(folder) / str(index), fault, options)), flush=True)


def _row(folder: Path, fault: str, options: argparse.Namespace) -> list[str]:
    archive = Orthanc(folder / "orthanc").start()
    try:
        config = config_for(archive, folder / "worker")
        config = with_limits(config, max_attempts=50)
        config = replace(config, archive=replace(config.archive, page=7))
        world = World(archive, config, folder, range(1, options.images + 1), random.Random(0))
        return run(world, fault, options.fault_seconds, options.seconds)
    finally:
        archive.kill()


if __name__ == "__main__":
    main()
