"""Compares one multi-task transformer with single-task networks and with convolutional ones, on real images.

    python benchmarks/multitask.py --data SETS --output FOLDER --cohort chest --folds 5 --size 128 128 --workers 2

SETS is a folder of public sets (`benchmarks/multitask_cohorts.py`). Rows of the table:
- `ours`: the bundle's network, trained on all tasks;
- `ours, one task`: the same encoder with one decoder, a network per task, each trained on this task's images;
- `resnet`, `resnet10`: MONAI's ResNet-18 and ResNet-10 with the same decoders, trained on all tasks, with 3.0 and 1.4
  times as many parameters as `ours`;
- `efficientnet`, if asked for: EfficientNet-Lite0 with ImageNet weights and the same decoders, trained on all tasks
  (needs two more packages, see `EfficientNetLite` in `benchmarks/multitask_networks.py`);
- `segresnet`, `u_net`, `swin_unetr`: MONAI's networks for masks, one per mask (`benchmarks/multitask_networks.py`).
All are trained by the bundle's config, with the same data, augmentation, learning rate and number of epochs, and from
random weights except for `efficientnet`; the best epoch is chosen on the validation images. With `--last`, the averaged
weights of the last epoch are tested, too, and `--report --weights last` prints the tables of these, which do not depend
on small validation parts. Variants of the config for `ours` are compared by `--override 'NAME:ID=JSON;ID=JSON'`, for
example `--override 'coarse:network_def#detail=false'`. With `--pretraining-epochs N`, the variant `pretrained` starts
from an encoder that has learned to reconstruct hidden patches of the fold's training images for N epochs, with or
without labels; its CPU time includes this.
With `--generated FOLDER`, a cohort of `mtmedformer cohort`, each row has the variant `generated first`: the same
network is trained on this cohort, once, and each fold starts from these weights. `generated.jsonl` has these first
trainings, with metrics of the cohort's test patients; CPU times are without them. Networks for one task also have the
variant `jointly generated first`, which starts from the weights of the network that learned all tasks there, so that
only the training on real images differs from that of all tasks. With `--taught`, networks for all tasks have the
variant `taught`: they start likewise, and images that lack a mask have the one that `ours` for this task, `jointly
generated first`, predicts in the same fold (`mtmedformer datalist complete`); CPU times are without these teachers.
`--reference` names the row that all others are
compared with, for example `--reference 'ours, generated first'`.

Prints Markdown tables: mean and standard deviation over the folds, differences from `ours` with p values of the paired
t-test, corrected by Holm over the rows of a metric, parameters, and CPU time. Each training is one line of
`results.jsonl`; run the same command again to resume, or with `--report` to print the tables only. Another number of
folds or images, or another meaning of a variant, needs another folder.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bundle_runs import Metrics, evaluate, make_workflow
from command_line import make_parser
from monai.bundle import ConfigWorkflow
from multitask_cohorts import COHORTS, Cohort, make_folds, read_cohort
from multitask_networks import DENSE, EXTRA, NETWORKS
from multitask_tables import LAST, OURS, of_last_weights, print_tables
from study_runs import keep_settings, read_results, run_missing

from mtmedformer_monai.data import load_datalist, save_datalist
from mtmedformer_monai.data.datalist import SECTIONS
from mtmedformer_monai.engines.checkpointing.model_card import describe_model, write_card
from mtmedformer_monai.io.atomic_files import save_checkpoint

RESULTS = "results.jsonl"
GENERATED_RESULTS = "generated.jsonl"
SETTINGS = "settings.json"
ALL_TASKS = ""
SCRATCH = ""
"""Name of the variant without changes, from random weights."""
PRETRAINED = "pretrained"
"""Name of the variant whose encoder is pretrained."""
GENERATED = "generated first"
"""Name of the variant that starts from weights of a generated cohort."""
GENERATED_JOINTLY = "jointly generated first"
"""Name of the variant of a network for one task that starts from such weights of the network for all tasks."""
TAUGHT = "taught"
"""Name of the variant of a network for all tasks that also learns from the masks of networks for one task."""
AFTER_GENERATED = (GENERATED, GENERATED_JOINTLY, TAUGHT)
GENERATED_FOLD = -1
"""Stands for the generated cohort in place of a fold."""
VALIDATION_INTERVAL = 3
"""Epochs between two validations; the number of epochs is a multiple of it."""
AUGMENTATION = "strong_augmentation"
"""Config file of the bundles, whose transforms serve all networks."""


@dataclass(frozen=True)
class Run:
    """One training; all fields together are its key.

    Attributes:
        task: name of the one task; empty for all tasks.
        variant: name of a variant of the config; empty for none.
        fold: number, or `GENERATED_FOLD`.
    """

    cohort: str
    height: int
    width: int
    epochs: int
    lr: float
    fold: int
    network: str
    task: str = ALL_TASKS
    variant: str = ""


@dataclass(frozen=True)
class First:
    """How the first training, on the generated cohort, differs from that of a fold.

    Attributes:
        joint: `task` of the network that learns all wanted tasks.
    """

    epochs: int
    lr: float
    joint: str = ALL_TASKS

    def run(self, run: Run) -> Run:
        """Returns the first training that a run starts from."""
        task = self.joint if run.variant == GENERATED_JOINTLY else run.task
        return replace(run, fold=GENERATED_FOLD, task=task, variant=SCRATCH, epochs=self.epochs, lr=self.lr)


def main() -> None:
    """Runs the missing trainings in parallel processes, and prints the tables."""
    options = _parse()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / RESULTS
    if not options.report:
        keep_settings(options.output / SETTINGS, settings_of(options))
        _write_folds(options)
        first = First(options.generated_epochs, options.generated_lr, _joint_task(options))
        trained = partial(
            train,
            output=options.output,
            variants=options.variants,
            pretraining_epochs=options.pretraining_epochs,
            first=first,
            last=options.last,
        )
        runs = list(_runs(options))
        firsts = {first.run(run) for run in runs if run.variant in AFTER_GENERATED}
        run_missing(trained, sorted(firsts, key=str), options.output / GENERATED_RESULTS, options.workers, _show)
        for late in (False, True):  # teachers first
            chosen = [run for run in runs if (run.variant == TAUGHT) == late]
            run_missing(trained, chosen, path, options.workers, _show)
    metrics = {name: cohort.metrics for name, cohort in COHORTS.items()}
    records = read_results(path)
    print_tables(records if options.weights == "best" else of_last_weights(records), metrics, options.reference)


def _parse() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the public sets")
    parser.add_argument("--cohort", choices=sorted(COHORTS), default="chest")
    parser.add_argument(
        "--networks", nargs="+", choices=sorted(NETWORKS), default=[name for name in NETWORKS if name not in EXTRA]
    )
    parser.add_argument("--override", action="append", default=[], help="NAME:ID=JSON;ID=JSON, a variant of `ours`")
    parser.add_argument("--pretraining-epochs", type=int, default=0, help="adds the variant `pretrained` of `ours`")
    parser.add_argument("--generated", type=Path, help="a generated cohort; adds the variant `generated first`")
    parser.add_argument("--generated-epochs", type=int, default=18, help="on that cohort (default %(default)s)")
    parser.add_argument("--generated-lr", type=float, default=0.001, help="on that cohort (default %(default)s)")
    parser.add_argument("--taught", action="store_true", help="adds the variant `taught` after `--generated`")
    parser.add_argument("--only", nargs="+", help="train only these variants")
    parser.add_argument("--tasks", nargs="+", default=[], help="train the multi-task networks on these tasks only")
    parser.add_argument("--no-single", action="store_true", help="leave out the networks for one task")
    parser.add_argument("--folds", type=int, default=5, help="of the partition of patients (default %(default)s)")
    parser.add_argument("--run-folds", type=int, nargs="+", help="which of them to run (default: all)")
    parser.add_argument("--most", type=int, default=240, help="images per public set (default %(default)s)")
    parser.add_argument("--size", type=int, nargs=2, help="rows and columns (default: those of the bundle)")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each (default %(default)s)")
    parser.add_argument("--reference", default=OURS, help="row that others are compared with (default %(default)s)")
    parser.add_argument("--last", action="store_true", help="test the averaged weights of the last epoch, too")
    parser.add_argument("--weights", choices=("best", "last"), default="best", help="whose tables are printed")
    parser.add_argument("--report", action="store_true", help="print the tables of the finished runs only")
    options = parser.parse_args()
    for name in ("epochs", "pretraining_epochs", "generated_epochs"):
        epochs = getattr(options, name)
        if epochs % VALIDATION_INTERVAL:
            option = name.replace("_", "-")
            parser.error(f"--{option} expects a multiple of {VALIDATION_INTERVAL}, got {epochs}.")
    if options.taught and (not options.generated or options.no_single):
        parser.error("--taught expects --generated, and the networks for one task as teachers.")
    options.size = options.size or list(COHORTS[options.cohort].size)
    options.variants = dict(_parse_variant(text) for text in options.override)
    if options.pretraining_epochs:
        options.variants[PRETRAINED] = {}
    return options


def _parse_variant(text: str) -> tuple[str, dict[str, Any]]:
    """Returns name and overrides of NAME:ID=JSON,ID=JSON.

    Raises:
        ValueError: the text has another form.
    """
    name, _, rest = text.partition(":")
    pairs = [part.partition("=") for part in rest.split(";")]
    try:
        return name, {key: json.loads(value) for key, _, value in pairs}
    except json.JSONDecodeError as error:
        raise ValueError(f"--override expects NAME:ID=JSON;ID=JSON, got {text!r}.") from error


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the settings that `Run` lacks: folds and images of a cohort, and what is behind the name of a variant."""
    cohort = options.cohort
    settings = {f"{cohort}, folds": options.folds, f"{cohort}, most": options.most}
    for name, changes in options.variants.items():
        settings[f"{cohort}, {name}"] = changes or options.pretraining_epochs
    if options.generated:
        generated = [str(options.generated.resolve()), options.generated_epochs, options.generated_lr]
        settings[f"{cohort}, {GENERATED}"] = generated
        if not options.no_single:
            settings[f"{cohort}, {GENERATED_JOINTLY}"] = _joint_task(options)
    return settings


def _runs(options: argparse.Namespace) -> Iterator[Run]:
    """Yields the wanted trainings, each in all of its variants."""
    of_all = [SCRATCH] + [GENERATED] * bool(options.generated)
    of_ours = [*of_all, *options.variants]
    of_single = of_all + [GENERATED_JOINTLY] * bool(options.generated)
    for fold in options.run_folds or range(options.folds):
        make = partial(Run, options.cohort, options.size[0], options.size[1], options.epochs, options.lr, fold)
        for network in options.networks:
            for task in _trained_tasks(network, options):
                joint = task == _joint_task(options)
                variants = (of_ours if joint else of_single) if network == OURS else of_all
                for variant in [*variants, *[TAUGHT] * (options.taught and joint)]:
                    if not options.only or variant in options.only:
                        yield make(network, task, variant)


def _trained_tasks(network: str, options: argparse.Namespace) -> list[str]:
    """Returns the `task` of each training of a network: all tasks together, single ones, or both."""
    cohort = COHORTS[options.cohort]
    names = options.tasks or [task["name"] for task in cohort.tasks]
    if network in DENSE:
        return [name for name in names if _is_segmentation(cohort, name)]
    return [_joint_task(options), *(names if network == OURS and not options.no_single else [])]


def _joint_task(options: argparse.Namespace) -> str:
    """Returns the `task` of the training on all wanted tasks."""
    return " ".join(options.tasks)


def _is_segmentation(cohort: Cohort, name: str) -> bool:
    return any(task["name"] == name and "structures" in task for task in cohort.tasks)


def _write_folds(options: argparse.Namespace) -> None:
    """Writes one datalist per fold, and that of the generated cohort, unless they exist."""
    cohort, folder = COHORTS[options.cohort], options.output / "data"
    generated = _datalist(options.output, options.cohort, GENERATED_FOLD)
    if options.generated and not generated.is_file():
        path = options.generated / "datalist.json"
        save_datalist({section: load_datalist(path, section) for section in SECTIONS}, generated)
    if (_datalist(options.output, options.cohort, options.folds - 1)).is_file():
        return
    sets = read_cohort(cohort, options.data, folder, options.most)
    for fold, sections in enumerate(make_folds(cohort, sets, options.folds)):
        save_datalist(sections, _datalist(options.output, options.cohort, fold))


def _datalist(output: Path, cohort: str, fold: int) -> Path:
    return output / f"data/{cohort}_{_fold_name(fold)}.json"


def _fold_name(fold: int) -> str:
    return "generated" if fold == GENERATED_FOLD else f"fold_{fold}"


def _show(run: Run, record: Any) -> str:
    return str({name: value for name, value in record.items() if value})


def train(
    run: Run,
    output: Path,
    variants: dict[str, dict[str, Any]],
    pretraining_epochs: int = 0,
    first: First | None = None,
    last: bool = False,
) -> dict[str, Any]:
    """Trains and evaluates one network; returns metrics, `parameters` and `cpu_seconds`."""
    cohort = COHORTS[run.cohort]
    overrides = overrides_of(run, output, variants)
    shutil.rmtree(overrides["output_dir"], ignore_errors=True)  # a resumed training would count a part of its time
    started = time.process_time()
    if run.variant == PRETRAINED:
        overrides["start_from"] = str(_pretrain(cohort.bundle, overrides, pretraining_epochs))
    if run.variant in AFTER_GENERATED and first is not None:
        overrides["start_from"] = f"{overrides_of(first.run(run), output, variants)['ckpt_dir']}/model.pt"
    if run.variant == TAUGHT:
        overrides["datalist"] = str(_teach(run, output, overrides))
    workflow = make_workflow(cohort.bundle, ["train"], _with_annotated_items(overrides, run))
    workflow.run()
    seconds = time.process_time() - started
    parameters = sum(each.numel() for each in workflow.parser.get_parsed_content("network_def").parameters())
    metrics = evaluate(cohort.bundle, ["train"], overrides, Path(overrides["output_dir"]) / "evaluation")
    if last:
        metrics |= {LAST + name: value for name, value in _evaluate_last(cohort.bundle, overrides, workflow).items()}
    return {**metrics, "parameters": parameters, "cpu_seconds": seconds}


def _evaluate_last(bundle: Path, overrides: dict[str, Any], workflow: ConfigWorkflow) -> Metrics:
    """Returns the metrics of a training's last averaged weights; the files of the best epoch are left as they are."""
    folder = Path(overrides["output_dir"]) / "last"
    own = {**overrides, "output_dir": str(folder), "ckpt_dir": str(folder / "models")}
    weights, parser = folder / "models/model.pt", workflow.parser
    save_checkpoint(parser.get_parsed_content("train#average").network.state_dict(), weights)
    write_card(weights, describe_model(parser.get_parsed_content("tasks"), overrides["image_size"]))
    return evaluate(bundle, ["train"], own, folder / "evaluation")


def _teach(run: Run, output: Path, overrides: dict[str, Any]) -> Path:
    """Completes the masks of a training's datalist by the networks for one task of the same fold; returns its path."""
    cohort, source = COHORTS[run.cohort], Path(overrides["datalist"])
    target = Path(overrides["output_dir"]) / "taught/datalist.json"
    for task in overrides["tasks"]:
        if "structures" in task:
            teacher = replace(run, network=OURS, task=task["name"], variant=GENERATED_JOINTLY)
            given = overrides_of(teacher, output, {})
            own = {key: given[key] for key in ("tasks", "image_size", *NETWORKS[OURS])}
            weights = {"ckpt_path": f"{given['ckpt_dir']}/model.pt", "on_weights_mismatch": "raise"}
            places = {"datalist": str(source), "completed_dir": str(target)}
            make_workflow(cohort.bundle, ["inference", "complete"], own | weights | places).run()
            source = target
    return target


def _pretrain(bundle: Path, overrides: dict[str, Any], epochs: int) -> Path:
    """Runs masked image modeling with the overrides of a training; returns the weights of its best epoch."""
    folder = Path(overrides["output_dir"]) / "pretraining"
    own = {**overrides, "output_dir": str(folder), "ckpt_dir": str(folder / "models"), "max_epochs": epochs}
    del own["tasks"]  # pretraining has one of its own
    make_workflow(bundle, ["train", "pretrain"], own).run()
    return folder / "models/model.pt"


def overrides_of(run: Run, output: Path, variants: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Returns the overrides of the bundle's config for a run, whose files are in `output_dir`."""
    cohort = COHORTS[run.cohort]
    name = "_".join(filter(None, (run.cohort, str(run.height), run.network, run.task.replace(" ", "-"), run.variant)))
    folder = output / "runs" / f"{name}_{run.epochs}_{run.lr}_{_fold_name(run.fold)}"
    chosen = run.task.split() or [task["name"] for task in cohort.tasks]
    tasks = [_for_network(task, run.network) for task in cohort.tasks if task["name"] in chosen]
    transforms = json.loads((cohort.bundle / f"configs/{AUGMENTATION}.json").read_text())
    return {
        "output_dir": str(folder.resolve()),
        "ckpt_dir": str(folder.resolve() / "models"),
        "datalist": str(_datalist(output, run.cohort, run.fold).resolve()),
        "image_size": [run.height, run.width],
        "max_epochs": run.epochs,
        "learning_rate": run.lr,
        "val_interval": VALIDATION_INTERVAL,
        "tracking_uri": f"sqlite:///{(output / f'mlflow_{os.getpid()}.db').resolve()}",  # one per process: it is slow
        "batch_size": 8,
        "seed": max(run.fold, 0),
        "on_unused_label": "ignore",
        "tasks": tasks,
        "train#random_transforms": transforms["train#random_transforms"],
        **NETWORKS[run.network],
        **variants.get(run.variant, {}),
    }


def _for_network(task: dict[str, Any], network: str) -> dict[str, Any]:
    return task | {"_target_": "multitask_networks.DeeplySupervised"} if network == "u_net" else task


def _with_annotated_items(overrides: dict[str, Any], run: Run) -> dict[str, Any]:
    """Returns overrides of a training on the images that are annotated for the chosen tasks."""
    if run.task == ALL_TASKS:
        return overrides
    datalist = json.loads(Path(overrides["datalist"]).read_text())
    for section in ("training", "validation"):
        datalist[section] = [item for item in datalist[section] if _is_annotated(item, overrides["tasks"])]
    path = save_datalist(datalist, Path(overrides["output_dir"]) / "datalist.json")
    return overrides | {"datalist": str(path)}


def _is_annotated(item: dict[str, Any], tasks: Sequence[dict[str, Any]]) -> bool:
    """Returns whether an item has a label of any of the tasks."""
    for task in tasks:
        if "structures" in task:
            known = any(name in (item.get("masks") or {}) for name in task["structures"])
        elif "DetectionTask" in task["_target_"]:
            known = any(name in (item.get("boxes") or {}) for name in task["classes"])
        else:
            known = (item.get("labels") or {}).get(task["name"]) is not None
        if known:
            return True
    return False


if __name__ == "__main__":
    main()
