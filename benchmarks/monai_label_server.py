"""A separate environment for MONAI Label, and its server with one bundle."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).parents[1]

PACKAGES = (
    "torch==2.13.0",
    "monai==1.6.1",
    "monailabel==0.8.5",
    "numpy<2",
    "pydicom<3",
    "dicomweb-client<0.61",
    # Further dependencies of our package.
    "nibabel>=5.2",
    "itk>=5.4",
    "lazy-loader>=0.4",
    "pytorch-ignite>=0.5",
    "mlflow>=3.0",
    "fire>=0.6",
    "scikit-learn>=1.4",
    "matplotlib>=3.8",
    "python-gdcm>=3.0.24",
    "pyjpegls>=1.4",
)

SITECUSTOMIZE = '''"""Declares operators of torchvision, whose compiled part does not load beside this torch."""

import importlib.util

if importlib.util.find_spec("torch"):
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
'''

IMAGE_FILES = ["*.nii.gz", "*.nii", "*.nrrd", "*.png", "*.jpg", "*.dcm"]
"""File patterns of images; by default, the server does not list .dcm files."""

START_SECONDS, TRAIN_SECONDS = 240, 900


def build_environment(folder: Path) -> Path:
    """Creates the environment, or reuses one that was created with the same packages.

    Args:
        folder: of the environment. An existing environment with the packages is used, too.

    Returns:
        The path of its Python interpreter.
    """
    folder = folder.resolve()
    python, stamp = folder / "bin/python", folder / ".mtmedformer"
    content = hashlib.sha256("\n".join([*PACKAGES, SITECUSTOMIZE, str(ROOT)]).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == content:
        return python
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    packages = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        ).strip()
    )
    (packages / "sitecustomize.py").write_text(SITECUSTOMIZE)
    (packages / "mtmedformer.pth").write_text(f"{ROOT}\n")
    stamp.write_text(content)
    return python


def make_app(python: Path, bundle: Path, folder: Path) -> Path:
    """Copies MONAI Label's app `monaibundle`, and the bundle into it; returns the app's folder."""
    shutil.copytree(python.parents[1] / "monailabel/sample-apps/monaibundle", folder, dirs_exist_ok=True)
    shutil.copytree(bundle, folder / "model" / bundle.name, dirs_exist_ok=True)
    return folder


@dataclass
class Server:
    """A running server.

    Attributes:
        url: its address.
        model: name of its bundle.
        process: of the server.
    """

    url: str
    model: str
    process: subprocess.Popen[bytes]

    def info(self) -> dict[str, Any]:
        """Returns the server's description of itself."""
        return _json(requests.get(f"{self.url}/info/", timeout=60))

    def infer(self, source: str | Path, output: str, **params: Any) -> requests.Response:
        """Requests an inference.

        Args:
            source: name of a study, or path of a file to upload.
            output: 'json' for the findings, 'image' for the label map.
            params: as sent by clients.
        """
        asked = {"params": json.dumps({"device": "cpu", **params})}
        url = f"{self.url}/infer/{self.model}?output={output}"
        if isinstance(source, str):
            return requests.post(f"{url}&image={source}", data=asked, timeout=300)
        with source.open("rb") as file:
            return requests.post(url, data=asked, files={"file": (source.name, file)}, timeout=300)

    def submit_label(self, study: str, path: Path) -> dict[str, Any]:
        """Uploads a label map drawn by an annotator."""
        with path.open("rb") as file:
            url = f"{self.url}/datastore/label?image={study}&tag=final"
            return _json(requests.put(url, files={"label": (path.name, file)}, timeout=60))

    def list_labeled(self) -> list[dict[str, str]]:
        """Returns the items that a training request uses."""
        response = requests.get(f"{self.url}/datastore/?output=train", timeout=60)
        response.raise_for_status()
        items: list[dict[str, str]] = response.json()
        return items

    def read_log(self) -> list[str]:
        """Last lines of the server's log, which its page of logs shows."""
        response = requests.get(f"{self.url}/logs/?logfile=app.log&lines=400&text=true", timeout=60)
        response.raise_for_status()
        return response.text.splitlines()

    def train(self, **params: Any) -> dict[str, Any]:
        """Trains in the background, as clients do, and waits; returns the task with its status and last lines."""
        asked = {"device": "cpu", **params}
        task = _json(requests.post(f"{self.url}/train/{self.model}", json=asked, timeout=60))
        end = time.monotonic() + TRAIN_SECONDS
        while task["status"] in {"SUBMITTED", "RUNNING"} and time.monotonic() < end:
            time.sleep(1)
            task = _json(requests.get(f"{self.url}/train/", timeout=60))
        return task


@contextmanager
def run_server(python: Path, app: Path, model: str, studies: Path, log: Path) -> Iterator[Server]:
    """Starts MONAI Label on the loopback interface, and stops it with all its child processes.

    Args:
        python: of the environment.
        app: folder of the app.
        model: name of the bundle.
        studies: folder of the images.
        log: file for the server's output.
    """
    port = _free_port()
    command = [python, "-m", "monailabel.main", "start_server", "--app", app, "--studies", studies]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--conf", "models", model, "--conf", "zoo_source", "local", "--conf", "sam2", "false"]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, env=_variables(python), stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            server = Server(f"http://127.0.0.1:{port}", model, process)
            _wait_until_ready(server, log)
            yield server
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def _variables(python: Path) -> Mapping[str, str]:
    """Returns the environment variables: the environment's own programs come first, without our packages."""
    return {
        **os.environ,
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": "",
        "CUDA_VISIBLE_DEVICES": "",
        "MONAI_LABEL_DATASTORE_FILE_EXT": json.dumps(IMAGE_FILES),
    }


def _wait_until_ready(server: Server, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.process.poll() is None:
        try:
            server.info()
            return
        except requests.ConnectionError:
            time.sleep(1)
    raise RuntimeError(f"the server did not start; its last lines:\n{log.read_text(errors='replace')[-3000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _json(response: requests.Response) -> dict[str, Any]:
    response.raise_for_status()
    content: dict[str, Any] = response.json()
    return content
