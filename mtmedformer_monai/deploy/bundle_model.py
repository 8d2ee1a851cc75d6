"""Loads what inference needs from a bundle: preprocessing, network with weights, inferer, postprocessing, tasks."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import nn

from mtmedformer_monai.engines import AnswerRequestd, CheckWeights, LabelMapd
from mtmedformer_monai.engines.postprocessing.provenance import describe_run
from mtmedformer_monai.io.atomic_files import load_checkpoint
from mtmedformer_monai.io.config_text import config_text
from mtmedformer_monai.io.file_sha256 import file_sha256
from mtmedformer_monai.io.weights_files import CALIBRATION, GUARD, POSTERIOR, companion
from mtmedformer_monai.tasks.base import Task

from .exported_network import check_runtime, run_elsewhere
from .results import Provenance

CONFIG = Path("configs/inference.json")
STUDY_CONFIG = Path("configs/study_inference.json")
UNCERTAINTY_CONFIG = Path("configs/uncertainty.json")
WEIGHTS, STUDY_WEIGHTS = Path("models/model.pt"), Path("study_models/model.pt")
BESIDE_WEIGHTS = (CALIBRATION, GUARD, POSTERIOR)
"""Names of files beside weights that change what is predicted with them."""
_DEVICE = re.compile(r"cpu|cuda(:\d+)?|mps")


@dataclass(frozen=True)
class BundleModel:
    """A bundle that is ready for inference.

    Attributes:
        tasks: the network's tasks, calibrated if the bundle has a calibration; for a model of studies, tasks of single
            images first.
        network: in evaluation mode, on the device.
        inferer: called as `inferer(image, network)`.
        preprocessing: MONAI Compose that loads an item's file.
        postprocessing: MONAI Compose for one image, or None.
        parser: MONAI's ConfigParser, for further entries of the configuration.
        device: torch device of the network.
    """

    tasks: Sequence[Task]
    network: nn.Module
    inferer: Any
    preprocessing: Any
    postprocessing: Any
    parser: Any
    device: Any


def load_model(
    bundle: Path,
    device: str = "",
    weights: Path | None = None,
    configs: Sequence[Path] = (),
    guard: str = "",
    runtime: str = "torch",
) -> BundleModel:
    """Builds the parts of the bundle's configuration, and loads its weights, which are tensors only.

    Building runs the code that the configuration names; see `hash_bundle` to recognize a configuration.

    Args:
        bundle: the bundle's folder.
        device: 'cpu', 'cuda', 'cuda:1' or 'mps'; '' for the configuration's choice.
        weights: file of the weights; the configuration's `ckpt_path` by default.
        configs: further configuration files, which override the bundle's `inference.json`.
        guard: 'flag', 'refuse' or 'off'; '' for the configuration's choice.
        runtime: 'torch'; or 'onnx', which runs on the CPU.

    Raises:
        FileNotFoundError: a configuration or the weights do not exist.
        ValueError: the device or the runtime is unknown or not available, or the weights do not fit the configuration.
    """
    check_runtime(runtime)
    parser = _parse(bundle, device if runtime == "torch" else device or "cpu", [bundle / CONFIG, *configs])
    if weights is not None:
        parser.update({"ckpt_path": config_text(weights)})  # calibration and guard lie beside the weights
    if guard:
        parser.update({"guard": guard})
    tasks = list(parser.get_parsed_content("tasks"))
    network = parser.get_parsed_content("network_def")
    path = Path(weights) if weights is not None else Path(parser.get_parsed_content("ckpt_path"))
    mismatch = parser.get("on_weights_mismatch", "raise")
    check = CheckWeights(str(path), tasks, parser.get_parsed_content("image_size"), mismatch)
    check(SimpleNamespace(network=network))
    network.load_state_dict(load_checkpoint(path))
    place = parser.get_parsed_content("device")
    if runtime != "torch":
        if str(place) != "cpu":
            raise ValueError(f"--runtime {runtime} expects --device cpu, got {place}.")
        if getattr(parser.get_parsed_content("plain_inferer"), "method", "") == "posterior":
            raise ValueError(
                f"--uncertainty draws weights from the posterior, which needs --runtime torch, got {runtime}."
            )
        network = run_elsewhere(network.eval(), runtime, parser.get_parsed_content("image_size"))
    calibrated = parser.get("calibrated_tasks") is not None
    return BundleModel(
        list(parser.get_parsed_content("calibrated_tasks")) if calibrated else tasks,
        network.to(place).eval(),
        parser.get_parsed_content("inferer"),
        parser.get_parsed_content("preprocessing"),
        without_label_map(parser.get_parsed_content("postprocessing")),
        parser,
        place,
    )


def without_label_map(postprocessing: Any) -> Any:
    """Returns the postprocessing of an image without label map and answer, which only other front ends use."""
    from monai.transforms import Compose

    if type(postprocessing) is not Compose:
        return postprocessing
    return Compose([each for each in postprocessing.transforms if not isinstance(each, (LabelMapd, AnswerRequestd))])


def uncertainty_config(bundle: Path) -> Path:
    """Returns the bundle's configuration that estimates uncertainty.

    Raises:
        FileNotFoundError: the bundle has none.
    """
    path = bundle / UNCERTAINTY_CONFIG
    if not path.is_file():
        raise FileNotFoundError(
            f"--uncertainty expects {UNCERTAINTY_CONFIG.as_posix()} in {bundle}, found none; copy it from one of the "
            "package's bundles."
        )
    return path


def _parse(bundle: Path, device: str, paths: Sequence[Path]) -> Any:
    from monai.bundle import ConfigParser

    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise FileNotFoundError(f"no configuration at {missing}; specify a bundle's folder with --bundle.")
    if device and not _DEVICE.fullmatch(device):
        raise ValueError(f"--device expects cpu, cuda, cuda:N or mps, got {device!r}.")
    parser = ConfigParser()
    parser.read_config([str(path) for path in paths])
    parser.update({"bundle_root": config_text(bundle.resolve())})
    if device:
        parser.update({"device": f"$torch.device('{_available(device)}')"})
    return parser


def _available(device: str) -> str:
    """Returns the device if it can be used.

    Raises:
        ValueError: it cannot.
    """
    import torch

    kind, _, index = device.partition(":")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ValueError(f"--device {device} is not available: {torch.cuda.device_count()} CUDA devices; use cpu.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ValueError("--device mps is not available on this machine; use cpu.")
    return device


def hash_bundle(bundle: Path, more: Sequence[Path] = (), weights: Path | None = None) -> str:
    """Returns the SHA-256 of all that determines results beside the weights: names and contents of files.

    These are the files in `configs`, those beside the weights (calibration, guard, posterior), and the weights for
    studies with theirs. Equal hashes mean that the same code would run; the weights have a hash of their own.

    Args:
        bundle: the bundle's folder.
        more: further configuration files of the run.
        weights: file of the weights; `models/model.pt` by default.
    """
    paths = sorted(path for path in (bundle / "configs").rglob("*") if path.is_file())
    named = [(path.relative_to(bundle).as_posix(), path) for path in paths] + [("+", path) for path in more]
    images, studies = weights or bundle / WEIGHTS, bundle / STUDY_WEIGHTS
    beside = {
        "image": [companion(images, name) for name in BESIDE_WEIGHTS],
        "study": [*(companion(studies, name) for name in BESIDE_WEIGHTS), studies],
    }
    named += [(f"{role}: {path.name}", path) for role, files in beside.items() for path in files if path.is_file()]
    digest = hashlib.sha256()
    for name, path in named:
        digest.update(f"{name} {file_sha256(path)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def describe_provenance(
    bundle: Path, weights: Path | None = None, device: str = "", more: Sequence[Path] = ()
) -> Provenance:
    """Describes bundle, weights and packages, without running any code of the bundle.

    Args:
        bundle: the bundle's folder.
        weights: file of the weights; `models/model.pt` by default.
        device: device of the network, for the record.
        more: further configuration files of the run.

    Raises:
        FileNotFoundError: the weights do not exist.
        ValueError: the bundle has no readable `configs/metadata.json`.
    """
    path = weights if weights is not None else bundle / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}; specify a bundle's folder with --bundle, or --weights.")
    try:
        metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
        name, version = str(metadata.get("name", bundle.resolve().name)), str(metadata["version"])
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{bundle} expects configs/metadata.json with a version ({type(error).__name__}).") from error
    versions = {**describe_run()["versions"], "python": platform.python_version()}
    sha256 = hash_bundle(bundle, more, path)
    return Provenance(name, version, sha256, file_sha256(path), versions, device or "default")
