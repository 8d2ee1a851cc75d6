"""Shows the spread of PVI clients' squared gradients by part and site, and the resulting shares of the precision.

    python benchmarks/precision_spread.py FOLDER/bayesian

Reads the sites' states of a federation simulated with PVI (`mtmedformer federate simulate`, or
`benchmarks/federation.py`) and prints two Markdown tables: quantiles of the mean squared gradient of an image over the
weights of each part of the network; and, for the weights that all sites train, the largest site's share of the
precision by `isotropic`, if all sites had equally many images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from command_line import make_parser
from torch import Tensor

from mtmedformer_monai.federated.client.bayesian_monai_algo import MEMORY
from mtmedformer_monai.io.atomic_files import load_checkpoint

QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
ISOTROPIC = (0.03, 0.01, 0.001, 0.0001, 0.0)


def main() -> None:
    """Prints both tables."""
    parser = make_parser(__doc__)
    parser.add_argument("folder", type=Path, help="folder of one federation, with site_1, site_2, ...")
    squares = {path.name: read_squares(path) for path in sorted(parser.parse_args().folder.glob("site_*"))}
    print(f"| part | site | weights | {' | '.join(f'{each:g}' for each in QUANTILES)} |")
    print(f"|{' --- |' * (3 + len(QUANTILES))}")
    for part in sorted({part_of(name) for held in squares.values() for name in held}):
        for site, held in squares.items():
            values = [value.flatten() for name, value in held.items() if part_of(name) == part]
            if values:
                found = quantiles(torch.cat(values), QUANTILES)
                row = " | ".join(f"{each:.1e}" for each in found)
                print(f"| {part} | {site} | {sum(map(len, values))} | {row} |")
    shared = sorted(set.intersection(*(set(held) for held in squares.values())))
    stacked = torch.stack([torch.cat([held[name].flatten() for name in shared]) for held in squares.values()])
    print(f"\n| isotropic | largest share: median | 0.9 | 0.99 |\n|{' --- |' * 4}")
    for isotropic in ISOTROPIC:
        precision = stacked + isotropic
        largest = (precision / precision.sum(0)).max(0).values.nan_to_num(1.0 / len(squares))
        print(f"| {isotropic:g} | {' | '.join(f'{each:.3f}' for each in quantiles(largest, (0.5, 0.9, 0.99)))} |")


def read_squares(site: Path) -> dict[str, Tensor]:
    """Returns {parameter: mean squared gradient} of a site's last round."""
    found: dict[str, Tensor] = last_memory(site)["rule"].get("squares", {})
    if not found:
        raise SystemExit(f"{site} has no squared gradients; choose a federation simulated with PVI.")
    return found


def last_memory(site: Path) -> dict[str, Any]:
    """Returns the state of a site's client after its last round."""
    rounds = sorted(site.glob(f"state_*/{MEMORY}"), key=lambda path: int(path.parent.name.rpartition("_")[2]))
    if not rounds:
        raise SystemExit(f"{site} has no state of a client; choose the folder of one simulated federation.")
    memory: dict[str, Any] = load_checkpoint(rounds[-1])
    return memory


def part_of(name: str) -> str:
    """Returns the encoder, a shared part, or a task's decoder."""
    parts = name.split(".")
    return parts[0] if parts[0] == "encoder" else ".".join(parts[:2])


def quantiles(values: Tensor, at: tuple[float, ...]) -> list[float]:
    """Returns quantiles by sorting, as `torch.quantile` accepts at most 16 million values."""
    ordered = values.sort().values
    return [float(ordered[round(each * (len(ordered) - 1))]) for each in at]


if __name__ == "__main__":
    main()
