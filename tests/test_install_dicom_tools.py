"""The script by which `make test` installs the DICOM validators, run with mocked system commands."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "install_dicom_tools"
PACKAGES = "dicom3tools dcmtk libpixelmed-java default-jre-headless orthanc orthanc-dicomweb chromium"
REMEDY = f"apt-get install {PACKAGES}"


@pytest.fixture
def run(tmp_path):
    """Returns a function that runs the script with mocked commands: {name: shell script}."""
    for name in ("env", "sh"):
        (tmp_path / name).symlink_to(shutil.which(name))

    def run(ci="", jar="", **commands):
        for name, body in commands.items():
            path = tmp_path / name.replace("_", "-")
            path.write_text(f"#!{shutil.which('sh')}\n{body}\n")
            path.chmod(0o755)
        environment = {"PATH": str(tmp_path), "CI": ci, "LOG": str(tmp_path / "log")}
        environment |= {"PIXELMED_JAR": str(jar), "SERVER_FOLDER": str(tmp_path)}  # not those of this machine
        done = subprocess.run(
            [shutil.which("bash"), SCRIPT], env=environment, capture_output=True, text=True, timeout=60
        )
        log = tmp_path / "log"
        return done.returncode, done.stderr, log.read_text() if log.exists() else ""

    return run


APT = 'echo "$@" >> "$LOG"'


TOOLS = {"dciodvfy": "", "dcmdump": "", "java": "", "Orthanc": "", "chromium": ""}


def test_nothing_is_done_if_the_tools_are_installed(run):
    assert run(jar=__file__, **TOOLS, apt_get=APT) == (0, "", "")


@pytest.mark.parametrize("missing", [*TOOLS, "jar"])
def test_one_missing_tool_is_reason_enough_to_install(run, missing):
    tools = {name: body for name, body in TOOLS.items() if name != missing}
    jar = "/nowhere/pixelmed.jar" if missing == "jar" else __file__
    assert "install -y -qq" in run(jar=jar, **tools, apt_get=APT, id="echo 0")[2]


@pytest.mark.parametrize(
    "commands",
    [{"id": "echo 0"}, {"id": "echo 1000", "sudo": 'shift; exec "$@"'}],
    ids=["root", "sudo"],
)
def test_the_tools_are_installed_if_allowed(run, commands):
    code, _, log = run(apt_get=APT, true="", **commands)
    assert code == 0
    assert log.splitlines() == [f"install -y -qq {PACKAGES}"]


def test_the_service_of_the_archive_is_stopped(run):
    code, _, log = run(apt_get=APT, systemctl=APT, id="echo 0")
    assert code == 0
    assert log.splitlines() == [f"install -y -qq {PACKAGES}", "disable --now orthanc"]


def test_missing_package_lists_are_downloaded(run):
    once = f'{APT}; [ "$1" = update ] || [ "$(grep -c install "$LOG")" = 2 ]'
    code, _, log = run(id="echo 0", apt_get=once, grep=f'exec {shutil.which("grep")} "$@"')
    assert code == 0
    assert [line.split()[0] for line in log.splitlines()] == ["install", "update", "install"]


@pytest.mark.parametrize(
    ("commands", "reason"),
    [
        ({}, "this system has no apt-get"),
        ({"apt_get": APT, "id": "echo 1000"}, "neither root nor sudo without a password"),
        ({"apt_get": "exit 100", "id": "echo 0"}, "apt-get install failed"),
    ],
    ids=["no Debian", "no rights", "no network"],
)
@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)], ids=["in CI", "elsewhere"])
def test_otherwise_the_remedy_is_printed_and_only_ci_fails(run, commands, reason, ci, code):
    returned, output, _ = run(ci=ci, **commands)
    assert returned == code
    assert reason in output
    assert REMEDY in output
