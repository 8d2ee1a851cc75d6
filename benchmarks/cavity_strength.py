"""Compares the strength of the cavity term at PVI clients with their own gradients.

    python benchmarks/cavity_strength.py FOLDER/bayesian --step 0.005

Reads the last round of a federation simulated with PVI. Prints, by client and part of the network, medians over the
weights of the following gradients of the mean loss over images: the root mean square gradient of one image; the
cavity's gradient at the global mean; and the cavity's gradient at a weight that has moved by `--step` from there (a
learning rate of 0.001 moves it by about that much in five steps of Adam).
"""

from __future__ import annotations

from pathlib import Path

import torch
from command_line import make_parser
from precision_spread import last_memory, part_of, quantiles

from mtmedformer_monai.federated.gaussian import Gaussian
from mtmedformer_monai.federated.message import TensorKind, pick
from mtmedformer_monai.federated.pvi import PVI
from mtmedformer_monai.federated.pvi.equations import PrecisionScale, cavity_of, likelihood_precision
from mtmedformer_monai.io.atomic_files import load_checkpoint


def main() -> None:
    """Prints the table."""
    parser = make_parser(__doc__)
    parser.add_argument("folder", type=Path, help="folder of one federation, with broadcast.pt, site_1, site_2, ...")
    default = PVI().image_precision
    parser.add_argument(
        "--isotropic", type=float, default=default, help="setting of the strategy (default %(default)s)"
    )
    parser.add_argument("--curvature", type=float, default=1.0, help="setting of the strategy (default %(default)s)")
    parser.add_argument(
        "--step", type=float, default=0.005, help="distance of a weight from the mean (default %(default)s)"
    )
    options = parser.parse_args()
    scale = PrecisionScale(options.isotropic, options.curvature)
    sent = load_checkpoint(options.folder / "broadcast.pt")["weights"]
    mean, precision = pick(sent, TensorKind.MEAN), pick(sent, TensorKind.PRECISION)
    print(f"| part | site | gradient of an image | cavity gradient | after {options.step:g} |\n|{' --- |' * 5}")
    for site in sorted(options.folder.glob("site_*")):
        rule = last_memory(site)["rule"]
        found: dict[str, list[torch.Tensor]] = {}
        for name, square in rule["squares"].items():
            own = Gaussian(*rule["own"][name])
            images = float((own.precision / likelihood_precision(square, 1, scale)).median())
            cavity = cavity_of(mean[name], precision[name], own)
            moved = options.step * cavity.precision / images
            rows = torch.stack([square.sqrt().flatten(), cavity.gradient.abs().flatten() / images, moved.flatten()])
            found.setdefault(part_of(name), []).append(rows)
        for part, rows_of_part in sorted(found.items()):
            medians = [quantiles(row, (0.5,))[0] for row in torch.cat(rows_of_part, dim=1)]
            print(f"| {part} | {site.name} | {' | '.join(f'{each:.1e}' for each in medians)} |")


if __name__ == "__main__":
    main()
