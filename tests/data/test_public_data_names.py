import subprocess
import sys

import pytest

from mtmedformer_monai import data


@pytest.mark.parametrize("name", data.__all__)
def test_a_name_is_what_its_file_defines_and_no_file(name):
    value = getattr(data, name)
    assert value is getattr(sys.modules[f"mtmedformer_monai.data.{data._HOMES[name]}"], name)
    assert name not in data._HOMES.values()


def test_an_unknown_name_is_told():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        data.nothing  # noqa: B018


def test_listing_the_sets_imports_neither_monai_nor_torch():
    code = "import sys, mtmedformer_monai.data as d; d.CONVERTERS; sys.exit(len({'torch', 'monai'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
