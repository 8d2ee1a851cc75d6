"""Measures how often the out-of-distribution guard flags images that a bundle should not read, and good films.

    mtmedformer cohort CHEST --kind chest --patients 400 --image-size 256
    mtmedformer cohort BREAST --kind mammography --patients 140 --image-size 384
    python benchmarks/guard.py --bundle bundles/chest_xray_multitask --data CHEST --other BREAST

The guard is fitted on the datalist's training list, with a limit from the validation list, for the bundle's weights
(`--ckpt` for others). Several folders after `--data` are fitted together. Manipulated films are those of the last
folder's test list. `--good NAME=FOLDER` and `--bad NAME=FOLDER` add
images: all of a folder, or a pattern of files in a folder. Prints a Markdown table with the share of flagged images for
several scores, of which the package uses "Mahalanobis, means".
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundle_runs import CHEST
from command_line import add_threads_option, make_parser, prepare_process
from guard_images import CHANGES, MADE, Picture, save_pictures
from monai.bundle import ConfigParser
from monai.transforms import Compose
from result_tables import table_header, table_row
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn
from torch.nn import functional

from mtmedformer_monai.data import find_images, load_datalist
from mtmedformer_monai.io.atomic_files import load_checkpoint
from mtmedformer_monai.uncertainty.guard import conformal_limit, fit_guard, pool_features

Score = Callable[[Tensor], Tensor]
NEIGHBORS = 5


def main() -> None:
    """Fits each score, and prints the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--bundle", type=Path, default=CHEST)
    parser.add_argument("--ckpt", type=Path, help="weights (default: the bundle's)")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders with datalist.json")
    parser.add_argument("--other", type=Path, help="folder with a datalist.json of another projection")
    parser.add_argument("--good", nargs="*", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--bad", nargs="*", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--rate", type=float, default=0.05, help="stated false alarm rate")
    parser.add_argument("--fit-count", type=int, help="images per list that the guard is fitted on (default: all)")
    parser.add_argument("--count", type=int, default=60, help="images per group")
    add_threads_option(parser)
    options = parser.parse_args()
    prepare_process(options.threads)
    started = time.process_time()
    model = Model(options)
    lists = {
        name: model.features([path for data in options.data for path in _images(data, name, options.fit_count)])
        for name in ("training", "validation")
    }
    scores = make_scores(lists["training"])
    limits = {name: conformal_limit(score(lists["validation"]), options.rate) for name, score in scores.items()}
    tests = {f"good: test list of {data.name}": model.features(_images(data, "test")) for data in options.data}
    groups = tests | dict(_groups(options, model))
    sizes = [len(lists[name]["means"]) for name in ("training", "validation")]
    print(
        f"\n{options.bundle.name}: {sizes[0]} training and {sizes[1]} validation images, rate {options.rate:g}, "
        f"{time.process_time() - started:.0f} CPU s\n"
    )
    print(table_header("images", ["number", *scores]))
    for group, features in groups.items():
        shares = [float((score(features) > limits[name]).float().mean()) for name, score in scores.items()]
        print(table_row(group, [str(len(features["means"])), *(f"{share:.2f}" for share in shares)]))


class Model:
    """The bundle's encoder and preprocessing."""

    def __init__(self, options: argparse.Namespace) -> None:
        parser = ConfigParser()
        parser.read_config(str(options.bundle / "configs/inference.json"))
        parser["bundle_root"] = str(options.bundle)
        parser["modalities"] = "any"
        network: nn.Module = parser.get_parsed_content("network_def")
        network.load_state_dict(load_checkpoint(options.ckpt or options.bundle / "models/model.pt"))
        self.network: Any = network.eval()
        self.transform: Compose = parser.get_parsed_content("preprocessing")
        loader: Any = self.transform.transforms[0]  # the guard is measured, not the rules for headers
        loader.rules = type(loader.rules)(**{field.name: "pass" for field in fields(loader.rules)})

    @torch.no_grad()
    def features(self, paths: Sequence[str]) -> dict[str, Tensor]:
        """Returns {kind: features (N, F)} of image files; files that cannot be read are omitted."""
        batches = [self.maps(path) for path in paths]
        kinds = [kind for kind in batches if kind]
        if not kinds:
            raise ValueError(f"none of {len(paths)} images can be read, such as {paths[:1]}.")
        return {name: torch.cat([kind[name] for kind in kinds]) for name in kinds[0]}

    def maps(self, path: str) -> dict[str, Tensor]:
        """Returns the features of one image; {} if it cannot be read."""
        try:
            image = self.transform({"image": path})["image"][None]
        except (RuntimeError, ValueError):
            return {}
        maps = self.network.encoder(self.network.enter(image)[-1])
        means, spread = pool_features(maps), [each.std(dim=(2, 3), correction=0) for each in maps]
        cells = functional.adaptive_avg_pool2d(maps[-1], 2).flatten(1)
        return {
            "coarsest": maps[-1].mean(dim=(2, 3)),
            "means": means,
            "means and grid": torch.cat([means, cells], dim=1),
            "means and std": torch.cat([means, *spread], dim=1),
        }

    def picture(self, path: str) -> Picture:
        """Returns a file's image as displayed, before it is oriented and resized."""
        loaded: Picture = self.transform.transforms[0]({"image": path})["image"][0].numpy()
        low, high = float(loaded.min()), float(loaded.max())
        return ((loaded - low) / max(high - low, 1e-6)).astype(np.float32)


def make_scores(training: dict[str, Tensor]) -> dict[str, Callable[[dict[str, Tensor]], Tensor]]:
    """Returns {name: score of a dict of features}."""
    scores: dict[str, Callable[[dict[str, Tensor]], Tensor]] = {}
    for kind, features in training.items():
        guard = fit_guard(features, features, 0.05)
        scores[f"Mahalanobis, {kind}"] = lambda given, guard=guard, kind=kind: guard.distance(given[kind])
    mean, std = training["means"].mean(dim=0), training["means"].std(dim=0).clamp(min=1e-6)
    neighbors = NearestNeighbors(n_neighbors=NEIGHBORS).fit(((training["means"] - mean) / std).numpy())

    def nearest(given: dict[str, Tensor]) -> Tensor:
        distances, _ = neighbors.kneighbors(((given["means"] - mean) / std).numpy())
        return torch.from_numpy(distances[:, -1])

    return scores | {f"{NEIGHBORS} nearest neighbors, means": nearest}


def _groups(options: argparse.Namespace, model: Model) -> list[tuple[str, dict[str, Tensor]]]:
    """Returns (name, features) of good images and of those that should be flagged."""
    given = [
        (f"{kind}: {each.partition('=')[0]}", _images(Path(each.partition("=")[2]), "", options.count))
        for kind in ("good", "bad")
        for each in getattr(options, kind)
    ]
    groups = [(name, model.features(paths)) for name, paths in given]
    if options.other:
        groups.append(("bad: other projection", model.features(_images(options.other, "test", options.count))))
    films = [model.picture(path) for path in _images(options.data[-1], "test", options.count)]
    with tempfile.TemporaryDirectory() as folder:
        generator = np.random.default_rng(0)
        for name, change in CHANGES.items():
            paths = save_pictures((change(film) for film in films), Path(folder) / name)
            groups.append((f"test list as PNG, {name}", model.features(paths)))
        for name, make in MADE.items():
            paths = save_pictures(make(options.count, generator), Path(folder) / name)
            groups.append((f"bad: {name}", model.features(paths)))
    return groups


def _images(source: Path, section: str, count: int | None = None) -> list[str]:
    """Returns the paths of images: a section of a folder's datalist, or all images of a folder."""
    items = load_datalist(str(source / "datalist.json"), section) if section else _find(source)
    paths = [str(item["image"]) for item in items]
    if count is None or len(paths) <= count:
        return paths
    chosen = np.linspace(0, len(paths) - 1, count).round().astype(int)
    return [paths[index] for index in chosen]


def _find(source: Path) -> list[dict[str, Any]]:
    if "*" not in source.name:
        return find_images(str(source))
    return [{"image": str(path)} for path in sorted(source.parent.glob(source.name))]


if __name__ == "__main__":
    main()
