import subprocess
import sys
from pathlib import Path

import pytest

import mtmedformer_monai.transforms as package


@pytest.mark.parametrize("name", package.__all__)
def test_every_public_name_loads(name):
    assert getattr(package, name).__name__ == name


def test_no_public_name_is_hidden_by_a_file():
    files = {path.stem for path in Path(package.__file__).parent.glob("*.py")}
    assert not files & set(package.__all__)


def test_unknown_name():
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        package.Nothing  # noqa: B018


def test_the_package_alone_imports_neither_monai_nor_torch():
    code = "import sys, mtmedformer_monai.transforms; print({'monai', 'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.strip() == "set()"
