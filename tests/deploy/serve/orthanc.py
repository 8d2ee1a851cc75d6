"""A real Orthanc with its DICOMweb plugin, started for tests with a storage folder and free ports of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

REMEDY = "Orthanc is not installed; on Debian: apt-get install orthanc orthanc-dicomweb"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "worker", "correct horse"
TITLE = "ORTHANC"


def require_orthanc() -> str:
    """Returns the path of Orthanc. Without it the test is skipped; under CI=true it fails."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None or not PLUGIN.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(REMEDY)
    return program


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Orthanc:
    """The server; `start` after `stop` continues with the same ports and images.

    It asks for a user name and password over HTTP, and answers nobody but this machine.
    """

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder, self._program, self._process = folder, require_orthanc(), None
        self.http_port, self.dicom_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self.http_port}"
        config = {
            "Name": "test", "StorageDirectory": str(folder / "images"), "IndexDirectory": str(folder / "images"),
            "HttpPort": self.http_port, "DicomPort": self.dicom_port, "DicomAet": TITLE, "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True, "RegisteredUsers": {USER: PASSWORD}, "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}, "DicomAlwaysAllowStore": True, **settings,
        }  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "orthanc.json").write_text(json.dumps(config))
        self._session = requests.Session()
        self._session.auth, self._session.trust_env = (USER, PASSWORD), False
        self._session.headers["Connection"] = "close"
        again = Retry(total=5, backoff_factor=0.1, allowed_methods=None)  # Orthanc drops a connection now and then
        self._session.mount("http://", HTTPAdapter(max_retries=again))

    def start(self):
        with (self.folder / "log").open("ab") as log:
            command = [self._program, str(self.folder / "orthanc.json")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.monotonic() + 30
        while True:
            try:
                self._session.get(f"{self.url}/system", timeout=5).raise_for_status()
                return self
            except requests.RequestException:
                if time.monotonic() > until or self._process.poll() is not None:
                    pytest.fail(f"Orthanc does not start: {(self.folder / 'log').read_text()[-2000:]}")
                time.sleep(0.05)

    def stop(self):
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def kill(self):
        """Ends the server for good, without the seconds that it takes to stop in order."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)

    def get(self, path, **query):
        answer = self._session.get(self.url + path, params=query, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def get_bytes(self, path):
        answer = self._session.get(self.url + path, timeout=30)
        answer.raise_for_status()
        return answer.content

    def send(self, path):
        """Adds a DICOM file."""
        self._session.post(f"{self.url}/instances", data=Path(path).read_bytes(), timeout=30).raise_for_status()

    def clear(self):
        """Deletes all images and the change log."""
        for patient in self.get("/patients"):
            self._session.delete(f"{self.url}/patients/{patient}", timeout=30).raise_for_status()
        self.clear_log()

    def clear_log(self):
        """Deletes the change log; numbers of changes continue."""
        self._session.delete(f"{self.url}/changes", timeout=30).raise_for_status()

    def stored(self, sop_class):
        """Returns [SOP Instance UID] of all objects of a SOP class."""
        found = self._session.get(
            f"{self.url}/dicom-web/instances", params={"SOPClassUID": sop_class, "limit": 1000}, timeout=30
        )
        entries = found.json() if found.status_code == 200 else []
        return [entry["00080018"]["Value"][0] for entry in entries if entry["00080016"]["Value"][0] == sop_class]

    def file(self, uid):
        """Returns a stored object as the bytes of a file."""
        (number,) = self._session.post(
            f"{self.url}/tools/find", json={"Level": "Instance", "Query": {"SOPInstanceUID": uid}}, timeout=30
        ).json()
        return self._session.get(f"{self.url}/instances/{number}/file", timeout=30).content
