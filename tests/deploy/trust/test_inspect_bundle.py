"""Bundles from elsewhere: what they would run is shown and refused, and none of it runs."""

import json
import logging
import pickle
import shutil
import zipfile

import pytest
import torch

from mtmedformer_monai.cli.main import main
from mtmedformer_monai.deploy.study_runner import RunnerOptions, StudyRunner
from mtmedformer_monai.deploy.trust.expression_check import is_harmless
from mtmedformer_monai.deploy.trust.inspect_bundle import (
    UntrustedBundleError,
    check_trusted,
    find_foreign,
    inspect_bundle,
)
from mtmedformer_monai.io.unpack_zip import unpack_zip
from tests.deploy.conftest import CHEST, MAMMOGRAPHY


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.fixture
def bundle(tmp_path):
    """A copy of the chest bundle, and a function that changes an entry of its inference.json."""
    copy = tmp_path / "bundle"
    shutil.copytree(CHEST, copy)

    def change(**entries):
        path = copy / "configs" / "inference.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))
        return copy

    return change


@pytest.mark.parametrize("path", [CHEST, MAMMOGRAPHY], ids=lambda path: path.name)
def test_the_bundles_of_this_package_contain_no_foreign_code(path):
    assert inspect_bundle(path).foreign == ()


def test_links_are_shown(bundle, tmp_path):
    path = bundle()
    (path / "configs").rename(tmp_path / "elsewhere")
    (path / "configs").symlink_to(tmp_path / "elsewhere")
    assert [(code.file, code.kind) for code in inspect_bundle(path).foreign] == [("configs", "link")]


ATTACKS = {
    "component": {"inferer": {"_target_": "os.system", "command": "touch {trap}"}},
    "through a module": {"inferer": {"_target_": "torch.os.system", "command": "touch {trap}"}},
    "through our module": {"inferer": {"_target_": "mtmedformer_monai.io.atomic_files.os.system", "command": "x"}},
    "through our package": {"inferer": {"_target_": "mtmedformer_monai.transforms.limits.os.system", "command": "x"}},
    "our command line": {"inferer": {"_target_": "mtmedformer_monai.cli.main.main", "arguments": ["--version"]}},
    "expression": {"device": "$__import__('os').system('touch {trap}')"},
    "import": {"device": "$import os"},
    "attribute of torch": {"device": "$torch.os.system('touch {trap}')"},
    "list of frames": {"device": "$[x for x in ()].gi_frame.f_builtins['open']('{trap}', 'w')"},
    "class": {"device": "$''.__class__.__mro__[1].__subclasses__()"},
    "alias": {"device": "$[len('x') for len in [print]]"},
    "reference as component": {"code": "os.system", "inferer": {"_target_": "%code", "command": "touch {trap}"}},
    "component by an id": {"inferer#_target_": "os.system"},
    "other file": {"device": "%/tmp/other.json::device"},
    "disabled": {"inferer": {"_target_": "SimpleInferer", "_disabled_": "$open('{trap}', 'w')"}},
    "reference in a text": {"f": 0, "image_size": '$\'@f{open("{trap}", "w")}\' and [128, 128]'},
    "comment that is none": {"image_size": "$[128, 128][0 # +open('{trap}', 'w')\n]"},
    "key of a relative id": {
        "holder": {"x": 1, "a": 1, "x and open('{trap}', 'w') or @holder": {"v": "$@#a"}},
        "image_size": "$@holder and [128, 128]",
    },
    "dict of references": {"image_size": "$[__local_refs['x']('ls') for __local_refs in [{'x': type}]]"},
    "file by a relative id": {"/tmp/other.json": {"a": "%#b"}},
}


@pytest.mark.parametrize("entries", ATTACKS.values(), ids=ATTACKS.keys())
def test_foreign_code_is_refused_and_does_not_run(bundle, tmp_path, entries):
    trap = tmp_path / "trap"
    path = bundle(**json.loads(json.dumps(entries).replace("{trap}", str(trap))))
    config = path / "configs" / "inference.json"
    if "import" not in str(entries) or "__import__" in str(entries):  # 'import os' alone runs nothing
        assert [code.file for code in find_foreign(config, path)] == ["configs/inference.json"]
        with pytest.raises(UntrustedBundleError, match=r"inference.json would run code from elsewhere.*--trust"):
            StudyRunner(RunnerOptions(path, tmp_path / "out", "cpu"))
    assert not trap.exists()


def test_inspect_shows_hashes_and_code_and_ends_with_3(bundle, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = bundle(device="$print('ran')")
    (path / "scripts").mkdir()
    (path / "scripts" / "evil.py").write_text("print('ran')")
    logging_conf = path / "configs" / "logging.conf"
    logging_conf.write_text(logging_conf.read_text().replace("(sys.stdout,)", "(__import__('os').system('ls'),)"))
    assert main(["inspect", "--bundle", str(path)]) == 3
    found = inspect_bundle(path)
    assert {(code.kind, code.file) for code in found.foreign} == {
        ("expression", "configs/inference.json"),
        ("expression", "configs/logging.conf"),
        ("script", "scripts/evil.py"),
    }
    for text in (found.sha256, "print('ran')", "evil.py", "os').system", found.weights["models/model.pt"]):
        assert text in caplog.text


def test_the_hash_is_that_of_the_results_and_changes_with_the_configuration(bundle):
    path = bundle()
    before = inspect_bundle(path).sha256
    bundle(sensitivity=0.9)
    assert inspect_bundle(path).sha256 != before


def test_infer_refuses_foreign_code_before_any_output(bundle, make_dicom, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = bundle(device="$__import__('torch').device('cpu')")
    given = make_dicom(BodyPartExamined="CHEST", ViewPosition="PA")
    arguments = ["infer", "--bundle", str(path), "--input", str(given), "--output", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "add --trust" in caplog.text
    assert not (tmp_path / "out" / "results.json").exists()
    assert main([*arguments, "--trust"]) == 0
    assert "bundle from elsewhere: SHA-256" in caplog.text


def test_configurations_of_an_option_are_inspected(tmp_path):
    more = tmp_path / "more.yaml"
    more.write_text("inferer: {_target_: subprocess.run}")
    with pytest.raises(UntrustedBundleError, match=r"component 'subprocess\.run'"):
        check_trusted(CHEST, [CHEST / "configs/inference.json", more])


def test_weights_that_are_code_are_refused_and_do_not_run(bundle, tmp_path):
    path, trap = bundle(), tmp_path / "trap"
    torch.save({"w": Trap(trap)}, path / "models/model.pt")
    with pytest.raises(ValueError, match="more than tensors"):
        StudyRunner(RunnerOptions(path, tmp_path / "out", "cpu"))
    (path / "models/model.pt").write_bytes(pickle.dumps(Trap(trap)))
    with pytest.raises(ValueError, match="not a whole file"):
        StudyRunner(RunnerOptions(path, tmp_path / "out", "cpu"))
    assert not trap.exists()


def test_a_guard_that_is_code_does_not_run(bundle, make_dicom, tmp_path):
    path, trap = bundle(), tmp_path / "trap"
    torch.save({"mean": Trap(trap)}, path / "models/guard.pt")
    given = make_dicom(BodyPartExamined="CHEST", ViewPosition="PA")
    assert main(["infer", "--bundle", str(path), "--input", str(given), "--output", str(tmp_path / "out")]) != 0
    assert not trap.exists()


@pytest.mark.parametrize("name", ["../out.txt", "/tmp/out.txt", "a/../../out.txt", "..\\out.txt", "C:/out.txt"])
def test_a_zip_cannot_leave_its_folder(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("configs/inference.json", "{}")
        archive.writestr(name, "text")
    with pytest.raises(ValueError, match="leads out of the folder"):
        unpack_zip(tmp_path / "x.zip", tmp_path / "a" / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]


def test_a_zip_cannot_contain_links_or_a_bomb(tmp_path):
    link = zipfile.ZipInfo("configs")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc")
    with pytest.raises(ValueError, match="is a link"):
        unpack_zip(tmp_path / "link.zip", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(2**22))
    assert (tmp_path / "bomb.zip").stat().st_size < 2**13
    with pytest.raises(ValueError, match="may be a bomb"):
        unpack_zip(tmp_path / "bomb.zip", tmp_path / "out", max_bytes=2**20)
    assert (tmp_path / "out" / "zeros").stat().st_size <= 2**20


def test_a_zip_is_inspected(bundle, tmp_path):
    path = bundle()
    shutil.make_archive(str(tmp_path / "chest"), "zip", path.parent, path.name)
    assert main(["inspect", "--bundle", str(tmp_path / "chest.zip")]) == 0


@pytest.mark.parametrize(
    "text", ["@a.b()", "(lambda: @a)()", "@a[0]('x')", "print", "open", "f'{@a.__class__}'", "(", "x"]
)
def test_expressions_that_are_not_listed(text):
    assert not is_harmless(text)
