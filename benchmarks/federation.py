"""Compares federated strategies on a generated cohort at heterogeneous sites.

    python benchmarks/federation.py --output FOLDER --seeds 3 --methods bayesian fedavg local pooled

All methods start from the same weights and train equally many epochs at their sites. Prints a Markdown table of test
metrics: mean and standard deviation over seeds of cohort, partition and training. `pooled` is one site with all images,
an upper bound; for `local` and `fedbn`, metrics are means over the sites' own models. Run the same command again to
resume.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

from bundle_runs import CHEST, Metrics
from command_line import make_parser
from result_tables import print_summary

from mtmedformer_monai.cli.federate import parse_pairs
from mtmedformer_monai.federated.simulation import SimulationSettings, simulate
from mtmedformer_monai.federated.simulation.bundle_parts import primary_metrics

METHODS = ["bayesian", "fedavg", "fedprox", "fedbn", "fisher", "feddyn", "fedpa", "matching", "local", "pooled"]


def main() -> None:
    """Simulates all methods over the seeds, and prints the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", default=METHODS, help="NAME, or NAME:SETTING=VALUE,SETTING=VALUE")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--first-seed",
        type=int,
        default=0,
        help="first seed; settings were chosen on other seeds (default %(default)s)",
    )
    parser.add_argument("--partition", default="site", choices=("iid", "site", "labels", "tasks"))
    parser.add_argument("--patients", type=int, default=240)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--local-epochs", type=int, default=2)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--override", action="append", default=["batch_size=8"], metavar="ID=VALUE")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    logging.getLogger("monai").setLevel(logging.ERROR)
    columns = [*primary_metrics(CHEST), "mean_score"]
    results: dict[str, list[Metrics]] = {method: [] for method in options.methods}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for method in options.methods:
            results[method].append(run(method, seed, options))
    print(
        f"\n{options.seeds} seeds, {options.rounds} rounds of {options.local_epochs} epochs, "
        f"partition {options.partition}\n"
    )
    print_summary("", columns, results)


def run(method: str, seed: int, options: argparse.Namespace) -> Metrics:
    """Returns the metrics of one method on one seed, from a file if it is complete."""
    folder = options.output / f"seed_{seed}"
    path = folder / f"{method}.json"
    if path.is_file():
        found: Metrics = json.loads(path.read_text())
        return found
    name, _, pairs = method.partition(":")
    settings = SimulationSettings(
        bundle=CHEST,
        output=folder,
        num_rounds=options.rounds,
        local_epochs=options.local_epochs,
        strategy=name,
        strategy_settings=parse_pairs(pairs.split(",") if pairs else [], "--methods"),
        partition=options.partition,
        patients=options.patients,
        image_size=options.image_size,
        seed=seed,
        num_processes=options.processes,
        overrides=parse_pairs(options.override, "--override"),
    )
    started = time.monotonic()
    found = dict(simulate(name, settings, name=method))
    logging.info("seed %d, %s: %.0f s, %s", seed, method, time.monotonic() - started, found)
    path.write_text(json.dumps(found))
    return found


if __name__ == "__main__":
    main()
