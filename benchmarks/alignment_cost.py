"""What it costs to bring a network's units into a reference's order, and whether the order is found.

    OMP_NUM_THREADS=1 python benchmarks/alignment_cost.py --seeds 5

prints a Markdown table, for each encoder with the tasks of the chest bundle: parameters; groups of units; CPU seconds
(median over seeds) of an alignment that finds nothing to move (the reference's own weights with noise of a twentieth of
each tensor's standard deviation) and of one that has all units to move (a copy permuted at random); how many of the
copies, permuted at random, came back bit for bit.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
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
    """Of one network, a value a seed."""

    parameters: int = 0
    groups: int = 0
    still: list[float] = field(default_factory=list)
    scrambled: list[float] = field(default_factory=list)
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
    """Aligns copies of one network a seed."""
    figures = Measurements()
    for seed in range(seeds):
        torch.manual_seed(seed)
        network = MTMedFormer(make_encoder(), chest_tasks())
        state, groups = network.state_dict(), permutation_groups(network)
        figures.parameters = sum(value.numel() for value in network.parameters())
        figures.groups = len(groups.groups)
        found, seconds = timed(state, noisy(state), groups)
        figures.still.append(seconds)
        figures.moved += not is_identity(found)
        scrambled = permute(state, groups, random_permutation(groups))
        found, seconds = timed(state, scrambled, groups)
        figures.scrambled.append(seconds)
        back = permute(scrambled, groups, found)
        figures.recovered += all(torch.equal(back[name], value) for name, value in state.items())
    return figures


def row(name: str, figures: Measurements, seeds: int) -> str:
    still, scrambled = statistics.median(figures.still), statistics.median(figures.scrambled)
    return (
        f"| {name} | {figures.parameters / 1e6:.1f} M | {figures.groups} | {still:.2f} | {seeds - figures.moved} of "
        f"{seeds} | {scrambled:.2f} | {figures.recovered} of {seeds} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="networks of each kind")
    parser.add_argument("--encoders", nargs="*", default=list(ENCODERS), choices=list(ENCODERS), help="default all")
    arguments = parser.parse_args()
    print("| encoder | parameters | groups | common weights, s | stayed | scrambled, s | recovered |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in arguments.encoders:
        print(row(name, measure(ENCODERS[name], arguments.seeds), arguments.seeds), flush=True)


if __name__ == "__main__":
    main()
