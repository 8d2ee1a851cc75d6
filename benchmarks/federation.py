"""Study of federated strategies where sites differ: trains in one process per run, on the package's own parts.

    python benchmarks/federation.py --output FOLDER --regimes generated_tasks real_chest --data FOLDER --tune
    python benchmarks/federation.py --output FOLDER --regimes generated_tasks real_chest --data FOLDER --seeds 5

The first command chooses a learning rate per regime and method, on seeds 100 and up and on validation images; the
second one trains with these, and prints tables. All methods start from the same weights and train equally many epochs
per site, `--epochs`, split over the rounds. Regimes: `federation_worlds.py` and `federation_public.py`; methods:
`federation_methods.py`. Each run is one line of `results.jsonl`; run the same command again to resume, or with
`--report` to print the tables only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from command_line import make_parser
from federation_methods import APART, GIVEN, METHODS, parse_method
from federation_tables import print_tables
from federation_tuning import GRIDS, choose_rates, read_rates
from study_runs import read_results, run_missing

REGIMES = ("generated_tasks", "generated_scanner", "generated_shares", "real_chest", "real_mammograms")
RESULTS, TRIALS, RATES = "results.jsonl", "trials.jsonl", "learning_rates.json"


@dataclass(frozen=True)
class Cell:
    """One run of the study; all fields together are its key.

    Attributes:
        on: 'test' for results, 'validation' for the choice of the learning rate.
        pretrain_epochs: of every site alone, before the rounds, for methods that start from such weights.
        weights: path of the weights for methods that start from given ones.
    """

    regime: str
    image_size: int
    seed: int
    method: str
    rounds: int
    local_epochs: int
    batch_size: int
    lr: float
    fine_maps: bool = False
    on: str = "test"
    pretrain_epochs: int = 0
    weights: str = ""


def main() -> None:
    """Runs the missing cells in parallel processes, and prints the tables."""
    options = _parse()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    logging.getLogger("monai").setLevel(logging.ERROR)
    options.output.mkdir(parents=True, exist_ok=True)
    name = TRIALS if options.tune else RESULTS
    if not options.report:
        train = partial(run_cell, cache=options.cache, data=options.data)
        run_missing(train, _cells(options), options.output / name, options.workers, _show)
    records = read_results(options.output / name)
    if options.tune:
        records = alike(records, _cells(options))
        print(json.dumps(choose_rates(records, options.output / RATES, options.criterion), indent=2))
    else:
        print_tables(records, options.reference)


def _parse() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--regimes", nargs="+", default=["generated_tasks"], choices=REGIMES)
    parser.add_argument("--methods", nargs="+", default=METHODS, help="NAME, or NAME:SETTING=VALUE,SETTING=VALUE")
    parser.add_argument("--reference", default="bayesian", help="method that all others are compared with")
    parser.add_argument("--rounds", nargs="+", type=int, default=[3])
    parser.add_argument("--epochs", type=int, default=30, help="of each site, over all rounds (default %(default)s)")
    parser.add_argument("--pretrain-epochs", type=int, default=0, help="of each site alone, for NAME:start=...")
    parser.add_argument("--weights", default="", help="model.pt of the bundles' network, for NAME:start=given")
    parser.add_argument("--seeds", type=int, help="number of seeds (default 5; with --tune 2)")
    parser.add_argument("--first-seed", type=int, help="default 0; with --tune 100")
    parser.add_argument("--image-size", nargs="+", type=int, default=[64])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--fine-maps", action="store_true", help="the bundles' network; without, masks are at stride 4")
    parser.add_argument("--lr", type=float, help="instead of the chosen learning rates")
    parser.add_argument("--tune", action="store_true", help="choose the learning rate of each regime and method")
    parser.add_argument("--rates", nargs="+", type=float, help="that --tune tries (default: four per optimizer)")
    parser.add_argument("--criterion", default="dice", choices=("dice", "score", "loss"), help="of the choice")
    parser.add_argument("--data", type=Path, help="folder of the public sets, for real regimes")
    parser.add_argument("--cache", type=Path, help="folder of prepared images (default: in the output folder)")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each (default %(default)s)")
    parser.add_argument("--report", action="store_true", help="print the tables of the finished runs only")
    options = parser.parse_args()
    options.cache = options.cache or options.output / "cache"
    options.seeds = options.seeds or (2 if options.tune else 5)
    options.first_seed = (100 if options.tune else 0) if options.first_seed is None else options.first_seed
    return options


def _cells(options: argparse.Namespace) -> Iterable[Cell]:
    rates = read_rates(options.output / RATES)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    settings = itertools.product(options.regimes, options.image_size, options.rounds, seeds, options.methods)
    for regime, size, rounds, seed, text in settings:
        method = parse_method(text)
        epochs, rest = divmod(options.epochs, rounds)
        if rest:
            raise ValueError(f"--rounds expects divisors of {options.epochs} epochs, got {rounds}; change --epochs.")
        chosen = options.lr or method.lr or rates.get(f"{regime}/{text}")
        candidates: Sequence[float] = options.rates or GRIDS[method.optimizer]
        if not options.tune:
            candidates = [chosen or candidates[len(candidates) // 2]]
        for lr in candidates:
            on = "validation" if options.tune else "test"
            pretrain_epochs = options.pretrain_epochs if method.start in APART else 0
            weights = options.weights if method.start == GIVEN else ""
            yield Cell(
                regime, size, seed, text, rounds, epochs, options.batch_size, lr, options.fine_maps, on,
                pretrain_epochs, weights,
            )  # fmt: skip


def alike(records: Iterable[dict[str, Any]], cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """Returns the records with the settings of any of the cells, except for seed, method and learning rate."""
    free = {"seed", "method", "lr"}
    defaults = {each.name: each.default for each in fields(Cell) if each.default is not MISSING}

    def setting(record: dict[str, Any]) -> tuple[Any, ...]:
        return tuple((defaults | record)[each.name] for each in fields(Cell) if each.name not in free)

    wanted = {setting(asdict(cell)) for cell in cells}
    return [record for record in records if setting(record) in wanted]


def _show(cell: Cell, record: Any) -> str:
    return f"dice {record['dice']:.3f}, {record['wall_seconds']:.0f} s"


def run_cell(cell: Cell, cache: Path, data: Path | None) -> dict[str, Any]:
    """Trains one cell in this process; returns its metrics."""
    from federation_data import cached
    from federation_runs import run
    from federation_starts import Starts, train_apart
    from federation_training import Plan
    from federation_worlds import make_world

    from mtmedformer_monai.io.atomic_files import load_checkpoint

    world = make_world(cell.regime, cell.seed, cell.image_size, cache, data)
    method = parse_method(cell.method)
    plan = Plan(
        cell.rounds,
        cell.local_epochs,
        cell.lr,
        optimizer=method.optimizer,
        batch_size=cell.batch_size,
        seed=cell.seed,
        fine_maps=cell.fine_maps,
    )
    apart = {}
    if cell.pretrain_epochs:
        settings = (cell.pretrain_epochs, cell.batch_size, method.optimizer, cell.lr, cell.fine_maps)
        of = (cell.regime, cell.image_size, cell.seed, *settings)
        path = cache / f"alone_{'_'.join(map(str, of))}.pt"
        apart = cached(path, lambda: train_apart(world, plan, cell.pretrain_epochs))
    starts = Starts(apart, load_checkpoint(cell.weights) if cell.weights else None)
    return run(world, method, plan, cell.on, starts)


if __name__ == "__main__":
    main()
