"""Plays docs/flare.md on this machine: three hospitals, from `nvflare provision` to the first global model.

    python benchmarks/flare_consortium.py --output /tmp/consortium

The server and the hospitals are separate services on loopback with mutual TLS. It also checks that the server's port
refuses clients without a certificate, or with one of another authority. Takes about three minutes, and 5 GB of memory.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import torch
import yaml

from mtmedformer_monai.cli.main import main as mtmedformer
from mtmedformer_monai.data.synthetic.cohorts import make_cohort
from mtmedformer_monai.federated.simulation import SimulationSettings
from mtmedformer_monai.federated.simulation.cohort import prepare_data

BUNDLE = Path(__file__).resolve().parents[1] / "bundles/chest_xray_multitask"
SERVER, ADMIN, HOSPITALS = "localhost", "lead@university.org", ("hospital_a", "hospital_b", "hospital_c")
SMALL = '{"_target_": "mtmedformer_monai.networks.TransformerSize", "widths": [8, 16, 20, 32], "depths": [1, 1, 1, 1]}'
OWN = ["--override", f"network_def#encoder#size={SMALL}", "--override", "image_size=[32, 32]"]


def project(port: int) -> dict:
    """Returns the consortium's project file."""
    lighter = "nvflare.lighter.impl"
    return {
        "api_version": 3,
        "name": "radiographs",
        "participants": [
            {"name": SERVER, "type": "server", "org": "university", "fed_learn_port": port},
            *({"name": name, "type": "client", "org": name} for name in HOSPITALS),
            {"name": ADMIN, "type": "admin", "org": "university", "role": "project_admin"},
        ],
        "builders": [
            {"path": f"{lighter}.workspace.WorkspaceBuilder", "args": {"template_file": ["master_template.yml"]}},
            {"path": f"{lighter}.static_file.StaticFileBuilder", "args": {"config_folder": "config"}},
            {"path": f"{lighter}.cert.CertBuilder"},
            {"path": f"{lighter}.signature.SignatureBuilder"},
        ],
    }


def nvflare(*arguments: str, **options) -> None:
    """Runs FLARE's command line."""
    subprocess.run([Path(sys.executable).with_name("nvflare"), *arguments], check=True, timeout=600, **options)


def can_talk(port: int, authority: Path, certificate: tuple[Path, Path] | None) -> bool:
    """Returns whether the server accepts a TLS connection with this certificate."""
    context = ssl.create_default_context(cafile=str(authority))
    context.set_alpn_protocols(["h2"])
    context.check_hostname = False
    if certificate is not None:
        context.load_cert_chain(*map(str, certificate))
    try:
        with (
            socket.create_connection((SERVER, port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname=SERVER) as secure,
        ):
            secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")  # HTTP/2 preface
            return bool(secure.recv(1))
    except (ssl.SSLError, ConnectionError):
        return False


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Makes a certificate of no authority; returns its files."""
    files = folder / "intruder.crt", folder / "intruder.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=hospital_a", "-days", "1",
         "-out", str(files[0]), "-keyout", str(files[1])],
        check=True, capture_output=True,
    )  # fmt: skip
    return files


def play(folder: Path, port: int) -> None:
    """Plays all steps of the page."""
    cohort = make_cohort("chest", folder / "cohort", 18, image_size=64, seed=0)
    parts = SimulationSettings(BUNDLE, folder / "parts", num_sites=3, datalist=cohort, partition="iid")
    datalists = dict(zip(HOSPITALS, prepare_data(parts).sites.values(), strict=True))

    (folder / "project.yml").write_text(yaml.safe_dump(project(port)))
    nvflare("provision", "-p", str(folder / "project.yml"), "-w", str(folder / "kits"), stdout=subprocess.DEVNULL)
    kits = folder / "kits/radiographs/prod_00"
    mtmedformer(["federate", "join", str(kits / SERVER), "--bundle", str(BUNDLE), *OWN])
    for name in HOSPITALS:
        data = ["--datalist", str(datalists[name])]
        mtmedformer(["federate", "join", str(kits / name), "--bundle", str(BUNDLE), *data, *OWN])

    (folder / "sites.yaml").write_text(yaml.safe_dump({"sites": [{"name": name} for name in HOSPITALS]}))
    services: list[subprocess.Popen] = []
    try:
        for name in (SERVER, *HOSPITALS):
            services.append(start(kits / name, folder / f"{name}.log"))
        wait_for(lambda: can_talk(port, *credentials(kits)), "the server accepts a hospital's certificate")
        check_strangers(folder, kits, port)
        submit(folder, kits)
        model = kits / SERVER / "mtmedformer/models/model.pt"
        wait_for(model.is_file, "the first global model")
        print(f"global model: {model} ({len(torch.load(model, weights_only=True))} tensors)")
    finally:
        for service in services:
            with contextlib.suppress(ProcessLookupError):  # it has ended
                os.killpg(service.pid, signal.SIGKILL)


def start(kit: Path, log: Path) -> subprocess.Popen:
    """Starts the service of a kit with this script's environment, as an activated environment would."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with log.open("wb") as file:
        return subprocess.Popen(
            [kit / "startup/sub_start.sh", "--once"],
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PATH": path},
        )


def credentials(kits: Path) -> tuple[Path, tuple[Path, Path]]:
    """Returns the authority's certificate, and those of a hospital."""
    startup = kits / HOSPITALS[0] / "startup"
    return startup / "rootCA.pem", (startup / "client.crt", startup / "client.key")


def check_strangers(folder: Path, kits: Path, port: int) -> None:
    """Checks that the server refuses clients without a certificate of the consortium."""
    authority, _ = credentials(kits)
    if can_talk(port, authority, None):
        raise SystemExit("a client without a certificate was accepted")
    if can_talk(port, authority, self_signed(folder)):
        raise SystemExit("a client with a foreign certificate was accepted")
    print("clients without a certificate, and with a foreign one, are refused")


def submit(folder: Path, kits: Path) -> None:
    """Submits the job as soon as all hospitals are connected."""
    given = ["--env", "prod", "--sites", str(folder / "sites.yaml"), "--output", str(folder)]
    kit = ["--startup-kit", str(kits / ADMIN), "--admin", ADMIN]
    wait_for(
        lambda: all("Successfully registered client" in (folder / f"{name}.log").read_text() for name in HOSPITALS),
        "the hospitals are registered",
    )
    if mtmedformer(["federate", "flare", *given, *kit, "--rounds", "1", "--local-epochs", "1"]):
        raise SystemExit("the job was not submitted")


def wait_for(condition, what: str, seconds: float = 900.0) -> None:
    """Waits until a condition holds."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        try:
            if condition():
                print(f"{time.monotonic() - started:5.0f} s until {what}", flush=True)
                return
        except OSError:
            pass  # not yet listening
        time.sleep(1.0)
    raise SystemExit(f"{what}: not within {seconds:.0f} s; see the logs")


def main() -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--port", type=int, default=18002)
    options = parser.parse_args()
    shutil.rmtree(options.output, ignore_errors=True)
    play(options.output.resolve(), options.port)


if __name__ == "__main__":
    main()
