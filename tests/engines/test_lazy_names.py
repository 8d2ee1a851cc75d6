import subprocess
import sys

import pytest
from monai.bundle import ConfigParser

import mtmedformer_monai.engines as engines
import mtmedformer_monai.metrics as metrics


@pytest.mark.parametrize("package", [engines, metrics], ids=["engines", "metrics"])
def test_every_name_is_there(package):
    for name in package.__all__:
        assert callable(getattr(package, name))
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = package.Nothing


def test_a_config_builds_them_by_dotted_name():
    parser = ConfigParser({"clip": {"_target_": "mtmedformer_monai.engines.ClipGradients", "max_norm": 1.0}})
    assert isinstance(parser.get_parsed_content("clip"), engines.ClipGradients)


def test_packages_import_nothing_heavy():
    code = (
        "import sys, mtmedformer_monai.engines, mtmedformer_monai.metrics; print({'torch', 'monai'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
