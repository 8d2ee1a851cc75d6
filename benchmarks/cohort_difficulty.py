"""Measures how difficult the synthetic chest cohort is: Dice of thresholds, of a tiny CNN and of the network.

    python benchmarks/cohort_difficulty.py --seeds 3
    python benchmarks/cohort_difficulty.py --seeds 3 --model bundles/chest_xray_multitask/models/model.pt

Prints a Markdown table: mean and standard deviation over seeds, each with its own cohort, of the metrics on its test
patients. Dice is the task's own metric: the mean over images whose true mask is not empty. `opacity, pooled` is Dice
over the pixels of all test images, including healthy ones, so false alarms count. All methods use the bundle's
preprocessing and the same images, and are fitted on the training patients:
- `threshold`: the best gray level, with the pixels above or below it;
- `two thresholds`: the best interval of gray levels (air beside the body is darker than lungs);
- `two thresholds, cleaned`: the best interval, followed by opening, removal of components that touch the image border,
  and selection of the largest components;
- `tiny CNN`: four 3 x 3 convolutions, about 9,000 weights, no downsampling, the tasks' own losses;
- `the bundle`: `run training` of the chest bundle with all of its tasks, from scratch, best epoch by validation;
- `--model`: the bundle's network with these weights, without training. Cohorts start at seed 100; the demo's is 0.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from bundle_runs import CHEST, make_workflow, training_overrides
from command_line import add_threads_option, make_parser, prepare_process
from monai.bundle import ConfigParser
from monai.transforms import Compose
from numpy.typing import NDArray
from result_tables import print_summary
from scipy import ndimage
from torch import Tensor, nn

from mtmedformer_monai.data import load_datalist, make_chest_cohort
from mtmedformer_monai.metrics.segmentation import SegmentationMetric
from mtmedformer_monai.tasks import SegmentationTask
from mtmedformer_monai.transforms import Letterboxd, LoadRadiographd, LoadTargetsd, StretchContrastd

FIRST_SEED = 100
BINS = 128
COARSE = 8
"""Gray levels are fitted in steps of 1/128; with cleaning, which is more expensive, in steps of 1/16."""

TASKS = [SegmentationTask("lung", ["lung"]), SegmentationTask("opacity", ["opacity"], batch_dice=True)]
METRICS = ("lung", "opacity", "opacity, pooled")
Masks = NDArray[np.bool_]
Section = tuple[Tensor, dict[str, Tensor]]
Predictions = dict[str, Tensor]


def load(datalist: Path, section: str, size: int) -> Section:
    """Returns images (N, 1, H, W) and the masks of each task (N, 1, H, W)."""
    keys = ["image", *(task.name for task in TASKS)]
    steps = [
        LoadRadiographd("image"),
        LoadTargetsd(TASKS),
        Letterboxd(keys, (size, size)),
        StretchContrastd("image"),
    ]
    prepare = Compose(steps)
    items = [prepare(item) for item in load_datalist(datalist, section)]
    stacked = {key: torch.stack([torch.Tensor(item[key]).as_subclass(Tensor) for item in items]) for key in keys}
    return stacked.pop("image"), stacked


def fit_levels(image: Tensor, target: Tensor, one_sided: bool = False) -> tuple[float, float]:
    """Returns the interval of gray levels with the best pooled Dice; if one-sided, it starts at 0 or ends at 1."""
    levels = (image.clamp(0, 1) * BINS).long().clamp(max=BINS - 1)
    inside = torch.bincount(levels[target > 0.5], minlength=BINS)
    total = torch.bincount(levels.flatten(), minlength=BINS)
    hits, covered = (torch.cat([torch.zeros(1), count.cumsum(0)]) for count in (inside, total))
    dice = 2 * (hits[None] - hits[:, None]) / (covered[None] - covered[:, None] + hits[-1])
    if one_sided:
        dice[1:, :-1] = 0.0
    low, high = divmod(int(dice.triu(1).argmax()), BINS + 1)
    return low / BINS, high / BINS


def between(image: Tensor, levels: tuple[float, float]) -> Tensor:
    """Returns the pixels in an interval of gray levels; the last interval is closed."""
    return (image >= levels[0]) & ((image < levels[1]) | (levels[1] >= 1.0))


def clean(mask: Masks, parts: int) -> Masks:
    """Opens a mask (H, W), removes components that touch the border, and keeps the largest components."""
    opened = ndimage.binary_opening(mask, iterations=1)
    labels, count = ndimage.label(opened)
    if count == 0:
        return opened
    sizes = np.bincount(labels.ravel())
    sizes[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = 0
    kept = [label for label in np.argsort(sizes)[::-1][:parts] if sizes[label] > 0]
    return np.isin(labels, kept)


def clean_all(masks: Tensor, parts: int) -> Tensor:
    return torch.from_numpy(np.stack([clean(mask, parts) for mask in masks[:, 0].numpy()]))[:, None]


def pooled_dice(mask: Tensor, target: Tensor) -> float:
    expected = target > 0.5
    return float(2 * (mask & expected).sum() / (mask.sum() + expected.sum()).clamp(min=1))


def fit_cleaned(image: Tensor, target: Tensor, images: int = 24) -> tuple[tuple[float, float], int]:
    """Returns interval and number of components with the best pooled Dice after cleaning, on the first images."""
    image, target = image[:images], target[:images]
    steps = [level / BINS for level in range(0, BINS + 1, COARSE)]
    best, choice = -1.0, ((0.0, 1.0), 1)
    for low in steps:
        for high in (step for step in steps if step > low):
            for parts in (2, 6):
                score = pooled_dice(clean_all(between(image, (low, high)), parts), target)
                if score > best:
                    best, choice = score, ((low, high), parts)
    return choice


class TinyCNN(nn.Module):
    """Four convolutions at full resolution, with a receptive field of 9 x 9 pixels."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 16, 24, 24)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(4, outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], len(TASKS), 3, padding=1))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Maps (B, 1, H, W) to {task: logits of the same size}."""
        logits = self.layers((image - 0.5) * 4.0)
        return {task.name: logits[:, index : index + 1] for index, task in enumerate(TASKS)}


def train(network: nn.Module, section: Section, options: argparse.Namespace) -> nn.Module:
    """Trains with AdamW, a one-cycle schedule, left-right flips and the tasks' own losses."""
    image, target = section
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.learning_rate, total_steps=options.steps)
    for _ in range(options.steps):
        batch = torch.randint(len(image), (options.batch_size,))
        turn = [3] if torch.rand(()) < 0.5 else []
        outputs = network(image[batch].flip(turn))
        loss = sum(task.loss(outputs[task.name], target[task.name][batch].flip(turn)) for task in TASKS)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def predict(network: nn.Module, image: Tensor) -> Predictions:
    outputs = [network(part) for part in image.split(16)]
    return {task.name: torch.cat([output[task.name] for output in outputs]) > 0 for task in TASKS}


def score(masks: Predictions, target: dict[str, Tensor]) -> list[float]:
    """Returns the columns of the table."""
    metrics = []
    for task in TASKS:
        metric = SegmentationMetric(task.structures, hausdorff=False)
        metric.update(masks[task.name].float(), target[task.name])
        metrics.append(metric.compute())
    return [*(each["dice"] for each in metrics), metrics[-1]["dice_pooled"]]


def load_bundle(weights: Path) -> nn.Module:
    """Returns the bundle's network with the given weights."""
    parser = ConfigParser()
    parser.read_config(str(CHEST / "configs/train.json"))
    network: nn.Module = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()


def train_bundle(data: Path, options: argparse.Namespace, seed: int) -> nn.Module:
    """Runs the bundle's own training on a cohort, and returns the network of its best epoch."""
    with tempfile.TemporaryDirectory() as folder:
        interval = max(1, options.epochs // 5)
        settings = training_overrides(data, folder, options.size, options.epochs, seed, interval)
        make_workflow(CHEST, ["train"], settings).run()
        return load_bundle(Path(folder, "models/model.pt"))


def timed(name: str, fit: Callable[[], nn.Module]) -> Callable[[Tensor], Predictions]:
    """Fits a network, prints its CPU time, and returns its prediction function."""
    started = time.process_time()
    network = fit()
    print(f"fitted {name} in {time.process_time() - started:.0f} CPU seconds", flush=True)
    return lambda image: predict(network, image)


def fit_gray_levels(training: Section) -> dict[str, Callable[[Tensor], Predictions]]:
    """Returns the fitted methods that use only gray levels."""
    image, target = training
    single = {task.name: fit_levels(image, target[task.name], one_sided=True) for task in TASKS}
    double = {task.name: fit_levels(image, target[task.name]) for task in TASKS}
    cleaned = {task.name: fit_cleaned(image, target[task.name]) for task in TASKS}
    return {
        "threshold": lambda image: {name: between(image, one) for name, one in single.items()},
        "two thresholds": lambda image: {name: between(image, one) for name, one in double.items()},
        "two thresholds, cleaned": lambda image: {
            name: clean_all(between(image, one), parts) for name, (one, parts) in cleaned.items()
        },
    }


def run(options: argparse.Namespace, seed: int) -> dict[str, list[float]]:
    """Returns the metrics of all methods on one cohort, by row of the table."""
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        datalist = make_chest_cohort(folder, options.patients, options.size, seed=seed)
        training, test = (load(datalist, section, options.size) for section in ("training", "test"))
        methods = fit_gray_levels(training)
        methods["tiny CNN"] = timed("tiny CNN", lambda: train(TinyCNN(), training, options))
        methods["the bundle"] = timed("the bundle", lambda: train_bundle(Path(folder), options, seed))
    if options.model:
        bundle = load_bundle(options.model)
        methods[f"the bundle, {options.model.name}"] = lambda image: predict(bundle, image)
    return {name: score(method(test[0]), test[1]) for name, method in methods.items()}


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--patients", type=int, default=150)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=25, help="epochs of the bundle's training")
    parser.add_argument("--steps", type=int, default=600, help="steps of the tiny CNN's training")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    add_threads_option(parser)
    parser.add_argument("--model", type=Path, default=None, help="weights of the chest bundle's network")
    options = parser.parse_args()
    prepare_process(options.threads)
    runs = []
    for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
        runs.append(run(options, seed))
        print(
            f"seed {seed}: { {name: [round(value, 3) for value in row] for name, row in runs[-1].items()} }", flush=True
        )
    print()
    by_method = {name: [dict(zip(METRICS, run[name], strict=True)) for run in runs] for name in runs[0]}
    print_summary(f"{options.seeds} seeds, Dice", METRICS, by_method)


if __name__ == "__main__":
    main()
