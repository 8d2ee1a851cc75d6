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
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from command_line import add_threads_option, make_parser
from monai.networks.nets import SegResNet
from network_cost import AsDict, chest_tasks, swin_unetr, unetr
from network_work import Device, Work, make_batch, measure_memory
from result_tables import table_header, table_row
from torch import nn

from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer, ResNetEncoder
from mtmedformer_monai.tasks import Task

OURS, RIVAL = "ours, 5 tasks, fine maps and stem", "SegResNet 16, lung"
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

    def transformer(after_stem: bool = False) -> nn.Module:
        return HierarchicalTransformer("tiny", after_stem=after_stem)

    return {
        "ours, 5 tasks": ours(transformer),
        "ours, 5 tasks, fine maps": ours(transformer, detail=True),
        OURS: ours(partial(transformer, after_stem=True), detail=True),
        "ResNet-18, same decoders": ours(lambda: ResNetEncoder("resnet18")),
        RIVAL: Contender(lambda _: AsDict(SegResNet(2, init_filters=16, out_channels=1)), tasks[:1]),
        "SwinUNETR 12, lung": Contender(lambda _: swin_unetr(12), tasks[:1]),
        "UNETR 144, lung": Contender(unetr, tasks[:1]),
    }


def measure_times(found: dict[str, Contender], device: Device, options: argparse.Namespace) -> Times:
    """Returns the times; each size has its own turn, so that few networks are in memory at once."""
    times: Times = {name: {} for name in found}
    for size in (TRAIN, *options.sizes):
        side, count = (options.sizes[0], options.batch) if size == TRAIN else (size, 1)
        works = {
            name: Work(each.make(side), each.tasks, make_batch(side, count), device) for name, each in found.items()
        }
        steps = {name: work.train if size == TRAIN else work.infer for name, work in works.items()}
        for step in steps.values():  # twice: compilation, and the state of the optimizer
            step(), step()
        for _ in range(options.repeats):
            for name, step in steps.items():
                times[name].setdefault(size, []).append(device.seconds(step))
    return times


def memory_of(contender: Contender, device: Device, options: argparse.Namespace) -> tuple[float, float]:
    """Returns MiB of training, and of inference at the largest size."""
    first, largest = options.sizes[0], max(options.sizes)
    make, tasks = contender.make, contender.tasks
    if device.is_cpu:
        training, _ = measure_memory(lambda: make(first), tasks, first, options.batch, options.threads)
        return training, measure_memory(lambda: make(largest), tasks, largest, 1, options.threads, steps=0)[1]
    training = _allocated(lambda: Work(make(first), tasks, make_batch(first, options.batch), device).train())
    return training, _allocated(lambda: Work(make(largest), tasks, make_batch(largest, 1), device).infer())


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
    device = Device(options.device, options.amp, options.compile, options.channels_last, fused=True)
    memory = {name: memory_of(contender, device, options) for name, contender in found.items()}
    torch.set_num_threads(options.threads)
    print_table(measure_times(found, device, options), memory, options)


if __name__ == "__main__":
    main()
