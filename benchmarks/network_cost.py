"""Compares the cost of the multi-task network with the single-task networks that it replaces, and with MONAI's.

    OMP_NUM_THREADS=1 python benchmarks/network_cost.py --size 224 --batch 8 --repeats 7

Prints a Markdown table: parameters, CPU time of a training step (forward, hybrid loss, backward, AdamW) and of an
inference batch, and the memory that each adds to the peak of the process. All networks are measured alternately in
every repeat, so that load on the machine affects all of them alike; times are medians over repeats of the process's CPU
time, and ratios are medians of the ratios within a repeat. Memory is the increase of the peak resident size in a
separate process, forked before any computation.

Expected, by the project's own bound: at most 1.35 times the cost of one single-task network with the same encoder.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from bundle_runs import CHEST
from command_line import add_threads_option, make_parser
from monai.bundle import ConfigParser
from monai.networks.nets import UNETR, SwinUNETR
from network_work import Work, make_batch, measure_memory
from torch import Tensor, nn

from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer
from mtmedformer_monai.tasks import Task

BOUND = 1.35
MULTI = "multi-task (5 tasks)"
KINDS = {"train_s": "Training", "infer_s": "Inference"}


def chest_tasks() -> list[Task]:
    """Returns the tasks of the chest bundle."""
    parser = ConfigParser()
    parser.read_config(str(CHEST / "configs/train.json"))
    tasks: list[Task] = parser.get_parsed_content("tasks")
    return tasks


class AsDict(nn.Module):
    """Wraps a segmentation network of MONAI, and returns the dict that the loss expects."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Maps (B, 1, H, W) to {'lung': logits}."""
        return {"lung": self.network(image)}


def swin_unetr(width: int) -> nn.Module:
    return AsDict(SwinUNETR(in_channels=1, out_channels=1, feature_size=width, spatial_dims=2))


def unetr(size: int) -> nn.Module:
    settings = {"feature_size": 16, "hidden_size": 144, "mlp_dim": 576, "num_heads": 12, "spatial_dims": 2}
    return AsDict(UNETR(in_channels=1, out_channels=1, img_size=(size, size), **settings))


def make_contenders(encoder: str, size: int) -> dict[str, tuple[Callable[[], nn.Module], list[Task]]]:
    """Returns {name: (function that creates the network, its tasks)}."""
    tasks = chest_tasks()

    def ours(some: list[Task]) -> Callable[[], nn.Module]:
        return lambda: MTMedFormer(HierarchicalTransformer(encoder), some)

    contenders = {MULTI: (ours(tasks), tasks)}
    contenders |= {f"only {task.name}": (ours([task]), [task]) for task in tasks}
    contenders |= {f"SwinUNETR {width}, lung": (lambda w=width: swin_unetr(w), tasks[:1]) for width in (12, 24)}
    contenders["UNETR 144, lung"] = (lambda: unetr(size), tasks[:1])
    return contenders


def summed(works: list[Work], kind: str) -> list[float]:
    """Returns the total seconds of several networks by repeat; kind: 'train_s' or 'infer_s'."""
    return [sum(each) for each in zip(*(getattr(work, kind) for work in works), strict=True)]


def ratio(work: Work, others: list[Work], kind: str) -> float:
    pairs = zip(summed([work], kind), summed(others, kind), strict=True)
    return statistics.median(one / other for one, other in pairs)


def print_table(works: dict[str, Work], memory: dict[str, tuple[float, float]]) -> None:
    rows = {name: [name] for name in works}
    singles = [name for name in works if name.startswith("only ")]
    order = [MULTI, *singles, "sum of the single-task networks", *list(works)[1 + len(singles) :]]
    rows["sum of the single-task networks"] = singles
    print("| network | parameters, M | train, ms | infer, ms | train, MiB | infer, MiB | multi/this, train | infer |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in order:
        parts = [works[part] for part in rows[name]]
        count = sum(p.numel() for part in parts for p in part.network.parameters()) / 1e6
        times = [f"{1e3 * statistics.median(summed(parts, kind)):.0f}" for kind in KINDS]
        mib = [f"{sum(memory[part][column] for part in rows[name]):.0f}" for column in (0, 1)]
        shares = [f"{ratio(works[MULTI], parts, kind):.2f}" for kind in KINDS]
        print(f"| {name} | {' | '.join([f'{count:.2f}', *times, *mib, *shares])} |")


def print_bound(works: dict[str, Work]) -> None:
    singles = {name: work for name, work in works.items() if name.startswith("only ")}
    for kind, word in KINDS.items():
        over = {name: ratio(works[MULTI], [work], kind) for name, work in singles.items()}
        cheapest = min(singles, key=lambda name: statistics.median(getattr(singles[name], kind)))
        each = ", ".join(f"{value:.2f} {name!r}" for name, value in over.items())
        print(f"\n{word}: multi-task over each single-task network: {each}.")
        print(f"Over the cheapest, {cheapest!r}: {over[cheapest]:.2f}; the bound is {BOUND}.")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--size", type=int, default=224, help="rows and columns; a multiple of 32")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)
    add_threads_option(parser)
    parser.add_argument("--encoder", default="tiny", help="size of the encoder: tiny, small or base")
    args = parser.parse_args()
    contenders = make_contenders(args.encoder, args.size)
    memory = {
        name: measure_memory(*contender, args.size, args.batch, args.threads) for name, contender in contenders.items()
    }
    torch.set_num_threads(args.threads)
    batch = make_batch(args.size, args.batch)
    works = {name: Work(make(), tasks, batch) for name, (make, tasks) in contenders.items()}
    for repeat in range(args.repeats + 1):
        for work in works.values():
            work.measure()
        if repeat == 0:  # warm-up
            for work in works.values():
                work.train_s.clear()
                work.infer_s.clear()
    print_table(works, memory)
    print_bound(works)


if __name__ == "__main__":
    main()
