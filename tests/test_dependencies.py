"""Every dependency of the package is imported by one of its files, or listed below with a reason."""

import re

import tomllib

from tests.bundles.conftest import ROOT

NOT_IMPORTED = {"itk"}
"""Dependency of MONAI's DICOM reader, for pipelines that use it instead of ours."""

MODULES = {
    "pytorch-ignite": "ignite",
    "python-gdcm": "gdcm",
    "pyjpegls": "jpeg_ls",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
    "lazy-loader": "lazy_loader",
}
FOLDERS = ("mtmedformer_monai", "transforms", "federated")


def test_every_dependency_is_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[\[<>=~! ]", text)[0] for text in project["dependencies"]]
    source = "\n".join(path.read_text() for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    patterns = {name: rf"(?m)(^\s*(import|from) |import_module\(\"){MODULES.get(name, name)}\b" for name in names}
    assert {name for name, pattern in patterns.items() if not re.search(pattern, source)} == NOT_IMPORTED


def test_every_dependency_is_pinned_for_the_tests():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[\[<>=~! ]", text)[0] for text in project["dependencies"]}
    pinned = re.findall(r"(?m)^([\w-]+)==", (ROOT / "requirements.txt").read_text())
    assert names <= set(pinned)
