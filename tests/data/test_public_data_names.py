import subprocess
import sys
from types import ModuleType

import pytest

from mtmedformer_monai import data


@pytest.mark.parametrize("name", data.__all__)
def test_a_public_name_is_no_module(name):
    assert not isinstance(getattr(data, name), ModuleType)


def test_an_unknown_name_is_told():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        data.nothing  # noqa: B018


def test_listing_the_sets_imports_neither_monai_nor_torch():
    code = "import sys, mtmedformer_monai.data as d; d.CONVERTERS; sys.exit(len({'torch', 'monai'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
