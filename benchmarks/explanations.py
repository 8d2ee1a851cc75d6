"""Measures the explanations of classifications: do they point at the finding, and does the class depend on them?

    mtmedformer cohort COHORT --patients 200 --image-size 256 --seed 11
    python benchmarks/explanations.py --data COHORT

    mtmedformer cohort COHORT --kind mammography --patients 120 --image-size 384 --seed 11
    python benchmarks/explanations.py --data COHORT --bundle bundles/mammography_multitask

By default the bundle's shipped weights are explained; with `--epochs N`, networks are trained from scratch, `--seeds`
of them on each folder of `--data`. Cases are images of the test and validation lists (neither has trained a network)
whose class is abnormal, whose finding is outlined, and which the network classifies correctly. Prints a Markdown
table: mean and standard deviation over cohorts and networks, or with one of each the standard error over cases. The
last lines name the methods whose `near` exceeds every control's by more than the standard deviation of the difference
over runs.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from bundle_runs import CHEST, make_workflow, training_overrides
from command_line import make_parser
from monai.bundle import ConfigWorkflow
from monai.data import DataLoader
from result_tables import summarize, table_header, table_row
from torch import Tensor

from mtmedformer_monai.data import RadiographDataset, load_datalist
from mtmedformer_monai.engines import PrepareMultiTaskBatch
from mtmedformer_monai.explanations import METHODS, deletion_curve, explain, mass_inside, peak_inside
from mtmedformer_monai.explanations.perturbation import blur, without_detail
from mtmedformer_monai.explanations.score import Question
from mtmedformer_monai.tasks import ClassificationTask, Task

EXPLAINED = {"chest_xray_multitask": ("finding", "opacity"), "mammography_multitask": ("pathology", "lesion")}
"""{bundle: (classification, segmentation with the outline of its evidence)}."""

COLUMNS = ("pointing", "near", "mass", "deletion", "seconds")
Row = dict[str, float]
Mapper = Callable[["Case"], Tensor]


@dataclass(frozen=True)
class Case:
    """An image (1, 1, H, W), the outline of its finding, bool (H, W), its class and the network's masks (H, W)."""

    image: Tensor
    outline: Tensor
    class_index: int
    mask_probs: Tensor
    order: int


def load_network(options: argparse.Namespace, data: Path, seed: int, folder: str) -> ConfigWorkflow:
    """Loads the shipped weights, or trains from scratch; the workflow's parser has the network in evaluation mode."""
    size = json.loads((options.bundle / "models/model.json").read_text())["image_size"]
    overrides = training_overrides(data, folder, options.size, options.epochs, seed, max(options.epochs, 1))
    rows = options.size * size[0] // size[1]
    overrides["image_size"] = [rows, options.size] if options.epochs else size
    workflow = make_workflow(options.bundle, ["train"], overrides)
    if options.epochs:
        workflow.run()
    network = workflow.parser.get_parsed_content("network")
    if not options.epochs:
        network.load_state_dict(torch.load(options.bundle / "models/model.pt", map_location="cpu", weights_only=True))
    network.eval()
    return workflow


def find_cases(
    workflow: ConfigWorkflow, data: Path, options: argparse.Namespace, names: tuple[str, str]
) -> tuple[list[Case], int]:
    """Returns the cases, and the number of abnormal images, correctly classified or not."""
    parser = workflow.parser
    tasks: list[Task] = parser.get_parsed_content("tasks")
    network = parser.get_parsed_content("network")
    task = next(task for task in tasks if task.name == names[0])
    items = [item for name in ("test", "validation") for item in load_datalist(str(data / "datalist.json"), name)]
    dataset = RadiographDataset(items, parser.get_parsed_content("validate#preprocessing"))
    prepare = PrepareMultiTaskBatch(tasks, keep_meta=False)
    cases, abnormal = [], 0
    for batch in DataLoader(dataset, batch_size=1):
        image, targets = prepare(batch)
        label, outline = targets[names[0]][0], targets[names[1]][0, 0] > 0.5
        if torch.isnan(label) or int(label) == 0 or not bool(outline.any()):
            continue
        abnormal += 1
        with torch.no_grad():
            outputs = network(image)
        if int(task.activate(outputs[names[0]])[0].argmax()) == int(label) and len(cases) < options.cases:
            mask_probs = outputs[names[1]][0, 0].sigmoid()
            cases.append(Case(image, outline, int(label), mask_probs, len(cases)))
    return cases, abnormal


def controls(workflow: ConfigWorkflow, task: ClassificationTask) -> dict[str, Mapper]:
    """Returns maps that do not depend on the network, that of an untrained network, and the network's own mask.

    A method that depends on the network must beat the same method on random weights (Adebayo et al., NeurIPS 2018).
    """
    untrained = copy.deepcopy(workflow.parser.get_parsed_content("network"))
    torch.manual_seed(0)
    for module in untrained.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()

    def center(case: Case) -> Tensor:
        rows, columns = (torch.linspace(-1, 1, length) for length in case.outline.shape)
        return torch.exp(-(rows[:, None] ** 2 + columns[None] ** 2) / 0.5)

    def noise(case: Case) -> Tensor:
        cells = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(case.order))
        return torch.nn.functional.interpolate(cells, size=case.outline.shape, mode="bilinear")[0, 0]

    def contrast(case: Case) -> Tensor:
        longest = max(case.image.shape[2:])
        return blur((case.image - without_detail(case.image)).abs(), longest / 32)[0, 0]

    def edges(case: Case) -> Tensor:
        down, across = torch.gradient(blur(case.image, 1.0)[0, 0])
        return blur((down**2 + across**2).sqrt()[None, None], max(case.image.shape[2:]) / 32)[0, 0]

    return {
        "(control) local contrast": contrast,
        "(control) edges": edges,
        "(control) random weights": lambda case: explain(untrained, case.image, task, case.class_index),
        "(control) noise": noise,
        "(control) center": center,
        "(control) brightness": lambda case: case.image[0, 0],
        "(reference) predicted mask": lambda case: case.mask_probs,
        "(reference) annotated outline": lambda case: case.outline.float(),
    }


def near(outline: Tensor) -> Tensor:
    """Dilates an outline by 1/32 of the image's longer side."""
    radius = max(1, max(outline.shape) // 32)
    return torch.nn.functional.max_pool2d(outline[None, None].float(), 2 * radius + 1, 1, radius)[0, 0] > 0.5


def measure(mapper: Mapper, cases: list[Case], network: Any, task: ClassificationTask) -> list[Row]:
    """Returns the measures of each case."""
    rows = []
    for case in cases:
        started = time.process_time()
        found = mapper(case)
        seconds = time.process_time() - started
        curve = deletion_curve(Question(network, task, case.class_index), case.image, found)
        rows.append(
            {
                "pointing": float(peak_inside(found, case.outline)),
                "near": float(peak_inside(found, near(case.outline))),
                "mass": mass_inside(found, case.outline),
                "deletion": float(torch.trapezoid(curve) / (len(curve) - 1)),
                "seconds": seconds,
            }
        )
    return rows


def run(options: argparse.Namespace, data: Path, seed: int) -> dict[str, list[Row]]:
    """Returns the measures of each case by method, for one network and cohort."""
    names = EXPLAINED[options.bundle.name]
    with tempfile.TemporaryDirectory() as folder:
        workflow = load_network(options, data, seed, folder)
    network = workflow.parser.get_parsed_content("network")
    task = next(task for task in workflow.parser.get_parsed_content("tasks") if task.name == names[0])
    cases, abnormal = find_cases(workflow, data, options, names)
    share = statistics.fmean(float(case.outline.float().mean()) for case in cases)
    print(
        f"{data.name}, seed {seed}: {len(cases)} cases of {abnormal} abnormal images; outlines cover {share:.3f}",
        flush=True,
    )
    mappers = controls(workflow, task) | {
        name: lambda case, name=name: explain(network, case.image, task, case.class_index, name) for name in METHODS
    }
    mappers = {name: mapper for name, mapper in mappers.items() if not options.only or name in options.only}
    return {name: measure(mapper, cases, network, task) for name, mapper in mappers.items()}


def cells(runs: list[list[Row]]) -> list[str]:
    """Returns the cells of a row: over several networks, or over the cases of one."""
    texts = []
    for column in COLUMNS:
        means = [statistics.fmean(row[column] for row in rows) for rows in runs]
        if len(means) > 1 or column == "seconds":
            texts.append(summarize(means))
        else:
            error = statistics.stdev([row[column] for row in runs[0]]) / len(runs[0]) ** 0.5
            texts.append(f"{means[0]:.3f} ({error:.3f})")
    return texts


def beats_controls(runs: list[dict[str, list[Row]]], method: str, column: str) -> bool:
    """Returns whether a method's measure exceeds that of each control by more than the spread of their difference.

    The spread is the standard deviation of the difference over runs, or with one run its standard error over cases.
    """
    for control in (name for name in runs[0] if name.startswith("(control)")):
        pairs = [list(zip(run[method], run[control], strict=True)) for run in runs]
        differences = [[one[column] - other[column] for one, other in pair] for pair in pairs]
        if len(runs) > 1:
            means = [statistics.fmean(each) for each in differences]
            spread = statistics.stdev(means)
        else:
            means = differences[0]
            spread = statistics.stdev(means) / len(means) ** 0.5
        if statistics.fmean(means) <= spread:
            return False
    return True


def main() -> None:
    """Runs all networks, and prints the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders with datalist.json")
    parser.add_argument("--bundle", type=Path, default=CHEST)
    parser.add_argument("--epochs", type=int, default=0, help="epochs of training from scratch; 0: shipped weights")
    parser.add_argument("--seeds", type=int, default=1, help="number of networks to train on each cohort")
    parser.add_argument("--size", type=int, default=64, help="columns of a trained network's input")
    parser.add_argument("--cases", type=int, default=60, help="maximum number of cases of each network")
    parser.add_argument("--only", nargs="*", help="rows of the table; all by default")
    options = parser.parse_args()
    options.bundle = options.bundle.resolve()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    runs = [run(options, data, seed) for data in options.data for seed in range(options.seeds)]
    print(table_header("method", COLUMNS))
    for name in runs[0]:
        print(table_row(name, cells([result[name] for result in runs])))
    for column in ("near", "mass"):
        better = [name for name in METHODS if name in runs[0] and beats_controls(runs, name, column)]
        print(f"better than every control by {column}: {', '.join(better) or 'none'}")


if __name__ == "__main__":
    main()
