"""Runs both bundles in MONAI Label's own server, over HTTP, and compares its answers with our own inference.

    python benchmarks/monai_label.py --environment .monai_label

The first run installs MONAI Label into that folder (3 GB). Later runs take about 5 minutes on 2 cores. Prints all
checks, and exits with status 1 if any of them failed. `--picture FILE.png` also draws one of the server's masks.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundle_runs import BUNDLES
from command_line import make_parser
from monai.bundle import run as run_bundle
from monai_label_answers import overlay, read_answer, to_file_grid
from monai_label_server import Server, build_environment, make_app, run_server
from monai_label_studies import Study, make_refused, make_shown, make_studies
from PIL import Image

from mtmedformer_monai.transforms import read_label_map

NUM_LABELS = 6
START_REACH = 0.3
"""Relative distance from the weights before a training of one epoch; from new weights it is above 1."""

Weights = dict[str, torch.Tensor]


class Table:
    """Prints checks as they complete, and counts failures."""

    def __init__(self) -> None:
        self.num_checks = self.num_failed = 0

    def check(self, name: str, test: Callable[[], tuple[bool, Any]]) -> None:
        """Runs one check, which returns whether it passed and a detail to print. An exception is a failure."""
        try:
            passed, detail = test()
        except Exception as error:
            passed, detail = False, f"{type(error).__name__}: {str(error)[:200]}"
        self.num_checks += 1
        self.num_failed += not passed
        print(f"  {'passed' if passed else 'FAILED'}  {name:52s} {detail}", flush=True)


def infer_ourselves(bundle: Path, studies: Sequence[Study], weights: Path, folder: Path) -> dict[str, Any]:
    """Runs our own inference; returns {study: (findings, label map (H, W))}."""
    found = {}
    for study in studies:
        output = folder / study.name
        run_bundle(
            "evaluating",
            config_file=str(bundle / "configs/inference.json"),
            meta_file=str(bundle / "configs/metadata.json"),
            logging_file=str(bundle / "configs/logging.conf"),
            bundle_root=str(bundle),
            image=str(study.path),
            output_dir=f"$'{output}'",
            ckpt_path=str(weights),
            device="cpu",
        )
        (report,) = [path for path in output.glob("*.json") if path.name != "skipped.json"]
        (labels,) = output.glob("*_labels.png")
        found[study.name] = (json.loads(report.read_text())["findings"], np.asarray(Image.open(labels)))
    return found


def check_info(table: Table, server: Server, bundle: Path) -> None:
    """Checks that the labels are those of the metadata."""
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    defined = metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
    expected = {name: int(number) for number, name in defined.items() if name != "background"}
    models = server.info()["models"]
    table.check("/info: labels", lambda: (models[bundle.name]["labels"] == expected, expected))


def check_answers(table: Table, server: Server, studies: Sequence[Study], ours: dict[str, Any]) -> None:
    """Checks that findings and label maps of every study equal our own."""
    for study in studies:
        findings, labels = ours[study.name]

        def same_findings(study: Study = study, findings: Any = findings) -> tuple[bool, Any]:
            answer = server.infer(study.name, "json").json()
            given = {task: answer.get(task) for task in findings}
            boxes = sum(len(reading.get("boxes", [])) for reading in findings.values())
            return given == findings, f"{len(findings)} tasks, {boxes} boxes"

        def same_mask(study: Study = study, labels: Any = labels) -> tuple[bool, Any]:
            answer = read_answer(server.infer(study.name, "image"))
            expected = to_file_grid(study.path, labels)
            equal = answer.values.shape == expected.shape and bool((answer.values == expected).all())
            placed = answer.is_placed_on(study.path)
            return equal and placed, f"{answer.values.shape}, {int((expected > 0).sum())} pixels labeled"

        table.check(f"/infer: findings, {study.path.name}", same_findings)
        table.check(f"/infer: mask, {study.path.name}", same_mask)


def check_uploads(table: Table, server: Server, study: Study, labels: Any, refused: Path) -> None:
    """Checks uploads: answers in the requested format, a lossless answer to a JPEG, our message for a rejected file."""

    def uploaded() -> tuple[bool, Any]:
        values = read_answer(server.infer(study.path, "image", result_extension=".nrrd")).values.T
        return values.shape == labels.shape and bool((values == labels).all()), values.shape

    def lossless() -> tuple[bool, Any]:
        jpeg = refused.with_suffix(".jpg")
        Image.fromarray(np.zeros((40, 60), dtype=np.uint8)).save(jpeg)
        answer = read_answer(server.infer(jpeg, "image"))
        return answer.name.endswith(".png") and answer.values.shape == (40, 60), answer.name

    def named() -> tuple[bool, Any]:
        answer = server.infer(refused, "json")
        detail = answer.json()["detail"]
        return answer.status_code == 422 and "modality" in detail.lower(), f"{answer.status_code}: {detail}"

    table.check("/infer: uploaded DICOM, answered as NRRD", uploaded)
    table.check("/infer: uploaded JPEG, answered without loss", lossless)
    table.check("/infer: refused modality, message in the answer", named)


def check_training(
    table: Table, server: Server, bundle: Path, studies: Sequence[Study], ours: Callable[[], dict[str, Any]]
) -> None:
    """Checks that labels are used, training starts from the last weights, and answers use the new weights."""
    path = bundle / "models/model.pt"
    for number, request in enumerate(("first", "second"), start=1):
        drawn = studies[: NUM_LABELS + number]
        for study in drawn:
            server.submit_label(study.name, study.label)
        table.check(f"/datastore/label: {len(drawn)} labels are read as drawn", lambda d=drawn: _are_read(server, d))
        before = _load(path)
        task = server.train(max_epochs=number, val_split=0.2, pretrained=True)
        after = _load(path)
        last = task["details"][-1] if task["details"] else ""
        table.check(f"/train: {request} request ends well", lambda t=task, s=last: (t["status"] == "DONE", s[-90:]))
        history = json.loads((bundle / "eval/history.json").read_text())
        tasks = json.loads((bundle / "configs/train.json").read_text())["tasks"]
        losses = {f"loss_{task['name']}" for task in tasks if "structures" in task}
        seen = {name for name, value in history[-1]["train"].items() if name.startswith("loss_") and value is not None}
        table.check(f"/train: {request} request learns masks alone", lambda a=losses, b=seen: (a == b, sorted(b)))
        table.check(f"/train: {request} request, epochs", lambda h=history, n=number: (len(h) == n, len(h)))
        distance = _distance(before, after)
        table.check(
            f"/train: {request} request starts from the last weights",
            lambda d=distance: (0 < d < START_REACH, f"relative distance {d:.4f}"),
        )
        kept = _distance(before, _load(path.with_name("model_previous.pt")))
        table.check(f"/train: {request} request keeps the last weights", lambda k=kept: (k == 0, "model_previous.pt"))
    check_answers(table, server, studies[:3], ours())
    table.check("/train: wrong label, an error with our message", lambda: _name_wrong_label(server, studies[0]))


def _are_read(server: Server, studies: Sequence[Study]) -> tuple[bool, Any]:
    paths = {Path(item["image"]).name: item["label"] for item in server.list_labeled()}
    read = {study.path.name: read_label_map(paths[study.path.name]) for study in studies}
    kinds = sorted({"".join(Path(path).suffixes) for path in paths.values()})
    return all(np.array_equal(read[study.path.name], study.drawn) for study in studies), ", ".join(kinds)


def _name_wrong_label(server: Server, study: Study) -> tuple[bool, Any]:
    wrong = study.label.with_name(f"{study.name}.png")
    Image.fromarray(np.full_like(study.drawn, 9)).save(wrong)
    server.submit_label(study.name, wrong)
    task = server.train(max_epochs=1, val_split=0.2)
    said = [line for line in [*task["details"], *server.read_log()] if "holds [9]" in line]
    return task["status"] == "ERROR" and bool(
        said
    ), f"{task['status']}: {said[0][-150:] if said else task['details'][-1]}"


def draw_picture(server: Server, image: Path, path: Path) -> None:
    """Draws the server's answer for an uploaded file."""
    answer = read_answer(server.infer(image, "image", result_extension=".nrrd"))
    overlay(image, answer.values.T, path)


def check_bundle(table: Table, python: Path, name: str, folder: Path, picture: Path | None) -> None:
    """Runs all checks of one bundle."""
    print(f"\n{name}", flush=True)
    app = make_app(python, BUNDLES / name, folder / "app")
    bundle = app / "model" / name
    studies = make_studies(BUNDLES / name, folder)
    refused = make_refused(studies[0], folder / "ct.dcm")
    weights = bundle / "models/model.pt"
    ours = infer_ourselves(BUNDLES / name, studies, weights, folder / "before")
    log = folder / "server.log"
    with run_server(python, app, name, folder / "studies", log) as server:
        check_info(table, server, bundle)
        check_answers(table, server, studies, ours)
        check_uploads(table, server, studies[0], ours[studies[0].name][1], refused)
        if picture is not None:
            draw_picture(server, make_shown(bundle, folder), picture)
        check_training(
            table,
            server,
            bundle,
            studies,
            lambda: infer_ourselves(BUNDLES / name, studies[:3], weights, folder / "after"),
        )


def _load(path: Path) -> Weights:
    weights: Weights = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def _distance(before: Weights, after: Weights) -> float:
    """Returns the distance of all floating point weights, relative to their norm before."""
    names = [name for name, value in before.items() if value.is_floating_point()]
    moved = sum(float((after[name] - before[name]).square().sum()) for name in names)
    return (moved / sum(float(before[name].square().sum()) for name in names)) ** 0.5


def main() -> int:
    """Returns the exit status."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--environment",
        type=Path,
        default=Path(".monai_label"),
        help="folder of MONAI Label's virtual environment (default %(default)s)",
    )
    parser.add_argument("--work", type=Path, help="folder for studies, app and logs (default: a temporary folder)")
    parser.add_argument("--bundle", action="append", help="name of a bundle; may be repeated (default: all)")
    parser.add_argument("--picture", type=Path, help="PNG to draw the first bundle's answer into")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    python, table = build_environment(options.environment), Table()
    names = options.bundle or sorted(path.name for path in BUNDLES.iterdir() if (path / "configs").is_dir())
    with tempfile.TemporaryDirectory() as temporary:
        for index, name in enumerate(names):
            folder = (options.work or Path(temporary)).resolve() / name
            folder.mkdir(parents=True)
            check_bundle(table, python, name, folder, options.picture if index == 0 else None)
    print(f"\n{table.num_checks - table.num_failed} of {table.num_checks} checks passed")
    return 1 if table.num_failed else 0


if __name__ == "__main__":
    sys.exit(main())
