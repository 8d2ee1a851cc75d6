"""The public names of all packages are lazy, complete, and not shadowed by modules of the same name."""

import subprocess
import sys
from importlib import import_module
from types import ModuleType

import pytest

PACKAGES = [
    f"mtmedformer_monai.{name}"
    for name in (
        "data",
        "engines",
        "federated.pvi",
        "federated.simulation",
        "federated.strategies",
        "losses",
        "metrics",
        "networks",
        "tasks",
        "transforms",
    )
]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_loads(package):
    module = import_module(package)
    assert module.__all__
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert not isinstance(getattr(module, name), ModuleType), name


@pytest.mark.parametrize("package", PACKAGES)
def test_an_unknown_name_is_rejected(package):
    with pytest.raises(AttributeError, match="Nothing"):
        _ = import_module(package).Nothing


def test_packages_import_nothing_heavy():
    code = f"import sys, {', '.join(PACKAGES)}; print({{'torch', 'monai', 'numpy'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_listing_the_public_datasets_imports_neither_monai_nor_torch():
    code = "import sys, mtmedformer_monai.data as d; d.CONVERTERS; print({'torch', 'monai'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
