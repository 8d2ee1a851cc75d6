"""Measures speed and memory of the multi-task network beside MONAI's networks for one mask, on a CPU or a GPU.

    python benchmarks/speed.py                                            # the CPU, one thread
    python benchmarks/speed.py --device cuda --amp --compile --channels-last --batch 64

Prints a Markdown table: parameters, training images per second (forward, hybrid loss, backward, fused AdamW; batches of
`--batch` images of the first size), latency of one image at each size up to probabilities, memory of training, and of
inference at the largest size. Below, the latency of the multi-task network over that of SegResNet.

All networks take turns in every repeat, so that load on the machine affects all alike; times are medians, ratios are
medians of the ratios within a repeat. On a CPU, time is that of the process on one core, and memory is what a process
of its own adds to its peak; on a GPU, time is measured between synchronizations, and memory is the peak of allocations.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from command_line import add_threads_option, make_parser
from monai.networks.nets import SegResNet
from network_cost import AsDict, chest_tasks, make_batch, measure_memory, swin_unetr, unetr
from result_tables import table_header, table_row
from torch import Tensor, nn

from mtmedformer_monai.losses.hybrid import HybridLoss
from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer, ResNetEncoder
from mtmedformer_monai.tasks import Task

OURS, RIVAL = "ours, 5 tasks, fine maps", "SegResNet 16, lung"
TRAIN = 0
"""Key of a training step's times; those of inference have their image size."""
Times = dict[str, dict[int, list[float]]]
"""{network: {image size or `TRAIN`: seconds of each repeat}}."""


@dataclass(frozen=True)
class Contender:
    """A network to measure.

    Attributes:
        make: creates the network for an image size.
        tasks: what it is trained for.
    """

    make: Callable[[int], nn.Module]
    tasks: list[Task]


def contenders() -> dict[str, Contender]:
    """Returns all networks by name."""
    tasks = chest_tasks()

    def ours(encoder: Callable[[], nn.Module], **settings: bool) -> Contender:
        return Contender(lambda _: MTMedFormer(encoder(), tasks, **settings), tasks)

    def transformer() -> nn.Module:
        return HierarchicalTransformer("tiny")

    return {
        "ours, 5 tasks": ours(transformer),
        OURS: ours(transformer, detail=True),
        "ResNet-18, same decoders": ours(lambda: ResNetEncoder("resnet18")),
        RIVAL: Contender(lambda _: AsDict(SegResNet(2, init_filters=16, out_channels=1)), tasks[:1]),
        "SwinUNETR 12, lung": Contender(lambda _: swin_unetr(12), tasks[:1]),
        "UNETR 144, lung": Contender(unetr, tasks[:1]),
    }


class Device:
    """The device and the way to run on it.

    Args:
        options: `device`, `amp`, `compile` and `channels_last` of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.device = torch.device(options.device)
        self._amp, self._compile = options.amp, options.compile
        self._format = torch.channels_last if options.channels_last else torch.contiguous_format

    def place(self, network: nn.Module) -> nn.Module:
        """Returns the network on the device."""
        network = network.to(self.device, memory_format=self._format)
        return torch.compile(network) if self._compile else network

    def move(self, image: Tensor) -> Tensor:
        """Returns an image (B, 1, H, W) on the device."""
        return image.to(self.device, memory_format=self._format)

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Runs a forward pass in bfloat16, if that is chosen."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._amp):
            yield

    def seconds(self, run: Callable[[], None]) -> float:
        """Returns the CPU time of a run, or the time until a GPU has completed it."""
        if self.device.type == "cpu":
            start = time.process_time()
            run()
            return time.process_time() - start
        torch.cuda.synchronize(self.device)
        start = time.perf_counter()
        run()
        torch.cuda.synchronize(self.device)
        return time.perf_counter() - start


class Training:
    """Training steps of a network on one batch.

    Args:
        contender: what is trained.
        batch: number of images.
        size: rows and columns.
        device: where it is trained.
    """

    def __init__(self, contender: Contender, batch: int, size: int, device: Device) -> None:
        image, targets = make_batch(size, batch)
        self._device, self._image = device, device.move(image)
        self._targets = {name: value.to(device.device) for name, value in targets.items()}
        self._network = device.place(contender.make(size)).train()
        self._loss = HybridLoss(contender.tasks).to(device.device)
        self._optimizer = torch.optim.AdamW(self._network.parameters(), fused=True)

    def step(self) -> None:
        """Runs forward, loss, backward and optimizer."""
        self._optimizer.zero_grad()
        with self._device.autocast():
            loss = self._loss(self._network(self._image), self._targets)
        loss.backward()
        self._optimizer.step()


class Inference:
    """Inference of a network on one image; arguments as for `Training`."""

    def __init__(self, contender: Contender, size: int, device: Device) -> None:
        self._device, self._tasks = device, contender.tasks
        self._image = device.move(make_batch(size, 1)[0])
        self._network = device.place(contender.make(size)).eval()

    @torch.inference_mode()
    def run(self) -> None:
        """Runs inference up to probabilities."""
        with self._device.autocast():
            outputs = self._network(self._image)
        for task in self._tasks:
            task.activate(outputs[task.name])


def measure_times(found: dict[str, Contender], options: argparse.Namespace) -> Times:
    """Returns the times; each size has its own turn, so that few networks are in memory at once."""
    device, times = Device(options), {name: {} for name in found}
    steps: dict[str, Callable[[], None]]
    for size in (TRAIN, *options.sizes):
        if size == TRAIN:
            steps = {k: Training(each, options.batch, options.sizes[0], device).step for k, each in found.items()}
        else:
            steps = {name: Inference(each, size, device).run for name, each in found.items()}
        for step in steps.values():  # twice: compilation, and the state of the optimizer
            step(), step()
        for _ in range(options.repeats):
            for name, step in steps.items():
                times[name].setdefault(size, []).append(device.seconds(step))
    return times


def memory_of(contender: Contender, options: argparse.Namespace) -> tuple[float, float]:
    """Returns MiB of training, and of inference at the largest size."""
    first, largest = options.sizes[0], max(options.sizes)
    if torch.device(options.device).type == "cpu":
        training = SimpleNamespace(size=first, batch=options.batch)
        inference = SimpleNamespace(size=largest, batch=1)
        tasks, threads = contender.tasks, options.threads
        return (
            measure_memory(lambda: contender.make(first), tasks, training, threads)[0],
            measure_memory(lambda: contender.make(largest), tasks, inference, threads, steps=0)[1],
        )
    device = Device(options)
    trained = _allocated(lambda: Training(contender, options.batch, first, device).step())
    return trained, _allocated(lambda: Inference(contender, largest, device).run())


def _allocated(run: Callable[[], None]) -> float:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def ratio(times: Times, size: int) -> float:
    """Returns the median of the time of the multi-task network over that of SegResNet."""
    return statistics.median(a / b for a, b in zip(times[OURS][size], times[RIVAL][size], strict=True))


def print_table(times: Times, memory: dict[str, tuple[float, float]], options: argparse.Namespace) -> None:
    """Prints a row per network, and the ratios."""
    sizes = [f"{size} px, ms" for size in options.sizes]
    print(table_header("network", ["parameters, M", "training, images/s", *sizes, "training, MiB", "inference, MiB"]))
    for name, contender in contenders().items():
        weights = sum(each.numel() for each in contender.make(options.sizes[0]).parameters()) / 1e6
        rate = options.batch / statistics.median(times[name][TRAIN])
        latencies = [f"{1e3 * statistics.median(times[name][size]):.1f}" for size in options.sizes]
        print(table_row(name, [f"{weights:.2f}", f"{rate:.1f}", *latencies, *(f"{each:.0f}" for each in memory[name])]))
    ratios = ", ".join(f"{ratio(times, size):.2f} at {size} px" for size in options.sizes)
    print(f"\nLatency of {OURS!r} over {RIVAL!r}: {ratios}.")


def main() -> None:
    """Measures all networks, and prints the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--device", default="cpu", help="cpu, or cuda (default %(default)s)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 512, 1024], help="multiples of 32")
    parser.add_argument("--batch", type=int, default=8, help="images of a training step (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--amp", action="store_true", help="bfloat16 autocast")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--channels-last", action="store_true")
    add_threads_option(parser)
    options = parser.parse_args()
    found = contenders()
    memory = {name: memory_of(contender, options) for name, contender in found.items()}
    torch.set_num_threads(options.threads)
    print_table(measure_times(found, options), memory, options)


if __name__ == "__main__":
    main()
