"""CPU time and memory of the multi-task network against the single-task networks that it replaces, and MONAI's own.

    python benchmarks/network_cost.py [--size 224] [--batch 8] [--repeats 5] [--threads 1]

Prints one Markdown table. The multi-task network and its tasks are those of the chest bundle's `inference.json`; a
single-task network has the same encoder and pyramid with one of the tasks. MONAI's SwinUNETR (its feature size has to
be a multiple of 12: the two sizes around ours) and UNETR segment the two structures, and do nothing else.

- Training is zero_grad, forward, the hybrid loss with all labels there, backward and an AdamW step; inference is a
  forward pass without gradients.
- Time: CPU milliseconds a batch of all threads, the median of `repeats` rounds in which all networks take turns, so
  that a busy machine is busy for all. A ratio is the median of the rounds' ratios.
- Memory: resident peak in MB of a process of its own (getrusage's ru_maxrss) above its peak after the imports and a
  first step of something tiny: weights, gradients, optimizer and activations. The sum's is that of its largest part,
  as they may run one after another.

Bound: training and inference of all tasks cost at most 1.35 of any one of its tasks alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.networks.nets import UNETR, SwinUNETR
from torch import Tensor, nn

from mtmedformer_monai.losses import HybridLoss
from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer
from mtmedformer_monai.tasks import SegmentationTask, Task

CONFIG = Path(__file__).parents[1] / "bundles/chest_xray_multitask/configs/inference.json"
BOUND = 1.35
MULTI, SUM = "multi-task", "sum of the single tasks"
MODES = ("training", "inference")
BOTH = SegmentationTask("both", ["lung", "opacity"])
BYTES_OF_MAXRSS = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Candidate:
    """A network to measure, and the tasks that it is trained on."""

    build: Callable[[], nn.Module]
    tasks: Sequence[Task]


class AsTask(nn.Module):
    """A network of MONAI behind our interface."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """(B, 1, H, W) to both structures' logits."""
        return {BOTH.name: self.network(image)}


def make_candidates(size: int) -> dict[str, Candidate]:
    """All networks by name, ours first."""
    tasks = parse("tasks")
    found = {MULTI: Candidate(lambda: parse("network_def"), tasks)}
    for task in tasks:
        found[f"{task.name} alone"] = Candidate(partial(single, task), [task])
    for width in (12, 24):
        found[f"SwinUNETR {width}"] = Candidate(partial(swin_unetr, width), [BOTH])
    found["UNETR"] = Candidate(partial(unetr, size), [BOTH])
    return found


def parse(name: str) -> object:
    parser = ConfigParser()
    parser.read_config(str(CONFIG))
    return parser.get_parsed_content(name)


def single(task: Task) -> nn.Module:
    return MTMedFormer(HierarchicalTransformer("tiny"), [task])


def swin_unetr(width: int) -> nn.Module:
    return AsTask(SwinUNETR(in_channels=1, out_channels=2, feature_size=width, spatial_dims=2))


def unetr(size: int) -> nn.Module:
    """UNETR of about our number of parameters."""
    return AsTask(UNETR(1, 2, (size, size), feature_size=8, hidden_size=144, mlp_dim=576, num_heads=6, spatial_dims=2))


def make_item(size: int) -> dict[str, object]:
    """A datalist item with every annotation: two rectangles for lungs, a smaller one for an opacity."""
    lung, opacity = np.zeros((size, size), dtype=bool), np.zeros((size, size), dtype=bool)
    for left in (size // 8, 5 * size // 8):
        lung[size // 4 : 3 * size // 4, left : left + size // 4] = True
    opacity[size // 2 : 5 * size // 8, size // 8 : size // 4] = True
    return {
        "masks": {"lung": lung, "opacity": opacity},
        "boxes": {"opacity": [[size // 8, size // 2, size // 4, 5 * size // 8]]},
        "labels": {"finding": "pneumonia", "pneumonia_type": "viral"},
    }


class Runner:
    """One network ready to take steps."""

    def __init__(self, candidate: Candidate, size: int, batch: int) -> None:
        torch.manual_seed(0)
        self.network, self.loss = candidate.build(), HybridLoss(candidate.tasks)
        self.optimizer = torch.optim.AdamW(self.network.parameters())
        self.image, item = torch.rand(batch, 1, size, size), make_item(size)
        encoded = {task.name: task.encode_target(item, (size, size)) for task in candidate.tasks}
        self.targets = {name: torch.stack([target] * batch) for name, target in encoded.items()}

    def training(self) -> None:
        """One step with every label there."""
        self.network.train()
        self.optimizer.zero_grad()
        self.loss(self.network(self.image), self.targets).backward()
        self.optimizer.step()

    @torch.no_grad()
    def inference(self) -> None:
        """One forward pass."""
        self.network.eval()(self.image)

    def milliseconds(self, mode: str) -> float:
        """CPU time of one step, all threads."""
        start = time.process_time()
        getattr(self, mode)()
        return 1e3 * (time.process_time() - start)

    def millions(self) -> float:
        """Parameters."""
        return sum(parameter.numel() for parameter in self.network.parameters()) / 1e6


def peak_megabytes(candidate: Candidate, mode: str, options: argparse.Namespace) -> float:
    """Peak memory of two steps in a forked process: the parent has done imports alone, so it starts from them."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=report_peak, args=(candidate, mode, options, theirs))
    process.start()
    theirs.close()
    megabytes = ours.recv()
    process.join()
    return megabytes


def report_peak(candidate: Candidate, mode: str, options: argparse.Namespace, pipe: Connection) -> None:
    torch.set_num_threads(options.threads)
    warm_up()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    runner = Runner(candidate, options.size, options.batch)
    for _ in range(2):  # AdamW's state appears in the first step
        getattr(runner, mode)()
    pipe.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * BYTES_OF_MAXRSS / 2**20)


def warm_up() -> None:
    """Loads what torch imports and maps when it first steps."""
    layer = nn.Sequential(nn.Conv2d(1, 8, 3), nn.GroupNorm(8, 8), nn.GELU())
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.rand(1, 1, 8, 8)).square().mean().backward()
    optimizer.step()


def time_rounds(runners: dict[str, Runner], repeats: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds by mode, network and round; the sum is a network too."""
    times: dict[str, dict[str, list[float]]] = {mode: {name: [] for name in runners} for mode in MODES}
    for mode in MODES:
        for repeat in range(repeats + 1):  # the first one warms up
            for name, runner in runners.items():
                cost = runner.milliseconds(mode)
                if repeat:
                    times[mode][name].append(cost)
        alone = [costs for name, costs in times[mode].items() if name.endswith("alone")]
        times[mode][SUM] = [sum(costs) for costs in zip(*alone, strict=True)]
    return times


def ratio(costs: list[float], others: list[float]) -> float:
    return statistics.median(cost / other for cost, other in zip(costs, others, strict=True))


def print_table(
    times: dict[str, dict[str, list[float]]], size: dict[str, float], peaks: dict[str, list[float]]
) -> None:
    """One row a network; a ratio says how many times as much the multi-task network costs."""
    print("| network | parameters, M | training, ms | multi-task : it | inference, ms | multi-task : it |", end="")
    print(" training, MB | inference, MB |\n" + "| --- " + "| ---: " * 7 + "|")
    for name in size:
        cells = [f"{size[name]:.2f}"]
        for mode in MODES:
            costs = times[mode][name]
            cells += [f"{statistics.median(costs):.0f}", f"{ratio(times[mode][MULTI], costs):.2f}"]
        print(f"| {name} | " + " | ".join([*cells, *(f"{peak:.0f}" for peak in peaks[name])]) + " |")


def print_verdict(times: dict[str, dict[str, list[float]]]) -> None:
    for mode in MODES:
        alone = [name for name in times[mode] if name.endswith("alone")]
        cheapest = min(alone, key=lambda name: statistics.median(times[mode][name]))
        worst = ratio(times[mode][MULTI], times[mode][cheapest])
        print(f"{mode}: {worst:.2f} of the cheapest, {cheapest}; {'within' if worst <= BOUND else 'ABOVE'} {BOUND}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of all tasks at once against a task a network.")
    parser.add_argument("--size", type=int, default=224, help="side of the image, a multiple of 32")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    candidates = make_candidates(options.size)
    peaks = {name: [peak_megabytes(each, mode, options) for mode in MODES] for name, each in candidates.items()}
    torch.set_num_threads(options.threads)
    runners = {name: Runner(each, options.size, options.batch) for name, each in candidates.items()}
    size = {name: runner.millions() for name, runner in runners.items()}
    alone = [name for name in size if name.endswith("alone")]
    size[SUM] = sum(size[name] for name in alone)
    peaks[SUM] = [max(peaks[name][index] for name in alone) for index in range(len(MODES))]
    times = time_rounds(runners, options.repeats)
    print(f"{options.batch} images of {options.size} px, {options.threads} threads, medians of {options.repeats}\n")
    print_table(times, size, peaks)
    print()
    print_verdict(times)


if __name__ == "__main__":
    main()
