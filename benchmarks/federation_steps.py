"""How far groups of clients with different tasks move together: the cosine of their steps, and what parts them.

    python benchmarks/federation_steps.py --cache FOLDER --data SETS --regimes generated_tasks real_chest

Trains `bayesian` without rounds that learn the priors, and prints, per round, medians over the encoder's tensors, and
the tenth and the ninetieth percentile: the cosine of two groups' steps; the squared distance of two groups' weights in
units of their mean squared step, which is 2 for independent steps from one start; and the share of the prior's variance
that is estimated to lie between groups (1: nothing is pooled).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from command_line import make_parser
from federation_methods import parse_method
from federation_runs import Federation
from federation_training import Plan
from federation_worlds import make_world
from torch import Tensor
from torch.nn.functional import cosine_similarity

QUANTILES = (0.5, 0.1, 0.9)
PART = "encoder."
METHOD = "bayesian:prior_rounds=0"
Networks = dict[str, dict[str, Tensor]]


def main() -> None:
    """Trains each regime, and prints its table."""
    parser = make_parser(__doc__)
    parser.add_argument("--regimes", nargs="+", default=["generated_tasks"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=18, help="of each site, over all rounds (default %(default)s)")
    parser.add_argument("--lr", type=float, default=0.004)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--data", type=Path, help="folder of the public sets, for real regimes")
    parser.add_argument("--cache", type=Path, required=True, help="folder of prepared images")
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    for regime in options.regimes:
        world = make_world(regime, options.seed, options.image_size, options.cache, options.data)
        plan = Plan(options.rounds, options.epochs // options.rounds, options.lr, seed=options.seed, fine_maps=True)
        federation = Federation(world.tasks, world.sites, parse_method(METHOD), plan)
        print(f"\n| {regime}, seed {options.seed} | cosine of steps | squared distance | share between groups |")
        print("| --- | --- | --- | --- |")
        start: Networks = {}
        for number in range(1, plan.rounds + 1):
            common = federation.server.weights()
            federation.run_round()
            end = {group: mean for group, (mean, _) in federation.server.group_networks().items()}
            rows = list(compare(start or dict.fromkeys(end, common), end, federation.server.shares()))
            cells = [spread(column) for column in zip(*rows, strict=True)]
            print(f"| round {number} | " + " | ".join(cells) + " |", flush=True)
            start = end


def compare(start: Networks, end: Networks, shares: Mapping[str, float]) -> Iterator[tuple[float, float, float]]:
    """Yields cosine, squared distance in squared steps, and share, for each pair of groups and encoder tensor."""
    for one, other in itertools.combinations(sorted(end), 2):
        for name in sorted(end[one].keys() & end[other].keys()):
            if name.startswith(PART) and end[one][name].is_floating_point():
                steps = [(end[group][name] - start[group][name]).double().flatten() for group in (one, other)]
                length = sum(float(step.square().sum()) for step in steps) / 2
                if length > 0:
                    apart = float((end[one][name] - end[other][name]).double().square().sum())
                    yield float(cosine_similarity(*steps, dim=0)), apart / length, shares[name]


def spread(values: tuple[float, ...]) -> str:
    """Returns the median with the tenth and the ninetieth percentile."""
    middle, low, high = torch.tensor(values).quantile(torch.tensor(QUANTILES)).tolist()
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


if __name__ == "__main__":
    main()
