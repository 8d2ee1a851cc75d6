"""Measures the cost of aligning a network's units with a reference, and whether the correct order is found.

    OMP_NUM_THREADS=1 python benchmarks/alignment_cost.py --seeds 5

Prints a Markdown table with the following columns, for each encoder with the tasks of the chest bundle: number of
parameters; number of unit groups; CPU seconds (median over seeds) of an alignment with nothing to move (the reference's
own weights with noise of one twentieth of each tensor's standard deviation); how many of these networks stayed in
order; CPU seconds of an alignment with all units to move (a randomly permuted copy); how many of the permuted copies
were recovered bit for bit.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from command_line import make_parser
from network_cost import chest_tasks
from torch import Tensor, nn

from mtmedformer_monai.federated.alignment.align import align
from mtmedformer_monai.federated.alignment.permutation import Permutation, is_identity, permute, random_permutation
from mtmedformer_monai.layers.group_declaration import permutation_groups
from mtmedformer_monai.layers.permutation_groups import PermutationGroups
from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer, ResNetEncoder, SwinEncoder

ENCODERS: dict[str, Callable[[], nn.Module]] = {
    "transformer tiny": lambda: HierarchicalTransformer("tiny"),
    "transformer small": lambda: HierarchicalTransformer("small"),
    "transformer base": lambda: HierarchicalTransformer("base"),
    "swin 24": SwinEncoder,
    "swin 96": lambda: SwinEncoder(96, depths=(2, 2, 6, 2)),
    "resnet10": lambda: ResNetEncoder("resnet10"),
    "resnet18": lambda: ResNetEncoder("resnet18"),
    "resnet50": lambda: ResNetEncoder("resnet50"),
}
NOISE = 0.05


@dataclass
class Measurements:
    """Measurements of one network, with one value per seed."""

    parameters: int = 0
    groups: int = 0
    unchanged: list[float] = field(default_factory=list)
    permuted: list[float] = field(default_factory=list)
    recovered: int = 0
    moved: int = 0


def timed(
    reference: dict[str, Tensor], weights: dict[str, Tensor], groups: PermutationGroups
) -> tuple[Permutation, float]:
    start = time.process_time()
    return align(reference, weights, groups), time.process_time() - start


def noisy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: value + NOISE * value.std(correction=0) * torch.randn(value.shape) if value.is_floating_point() else value
        for name, value in state.items()
    }


def measure(make_encoder: Callable[[], nn.Module], seeds: int) -> Measurements:
    """Aligns copies of one network per seed."""
    measured = Measurements()
    for seed in range(seeds):
        torch.manual_seed(seed)
        network = MTMedFormer(make_encoder(), chest_tasks())
        state, groups = network.state_dict(), permutation_groups(network)
        measured.parameters = sum(value.numel() for value in network.parameters())
        measured.groups = len(groups.groups)
        found, seconds = timed(state, noisy(state), groups)
        measured.unchanged.append(seconds)
        measured.moved += not is_identity(found)
        permuted = permute(state, groups, random_permutation(groups))
        found, seconds = timed(state, permuted, groups)
        measured.permuted.append(seconds)
        back = permute(permuted, groups, found)
        measured.recovered += all(torch.equal(back[name], value) for name, value in state.items())
    return measured


def row(name: str, measured: Measurements, seeds: int) -> str:
    unchanged, permuted = statistics.median(measured.unchanged), statistics.median(measured.permuted)
    return (
        f"| {name} | {measured.parameters / 1e6:.1f} M | {measured.groups} | {unchanged:.2f} | "
        f"{seeds - measured.moved} of {seeds} | {permuted:.2f} | {measured.recovered} of {seeds} |"
    )


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="number of networks of each kind")
    parser.add_argument(
        "--encoders",
        nargs="*",
        default=list(ENCODERS),
        choices=list(ENCODERS),
        help="encoders to measure (default: all)",
    )
    arguments = parser.parse_args()
    print("| encoder | parameters | groups | common weights, s | unchanged | permuted, s | recovered |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in arguments.encoders:
        print(row(name, measure(ENCODERS[name], arguments.seeds), arguments.seeds), flush=True)


if __name__ == "__main__":
    main()
