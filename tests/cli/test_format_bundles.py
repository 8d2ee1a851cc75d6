import json
import shutil

import pytest

from mtmedformer_monai.cli.format_bundles import format_json
from mtmedformer_monai.cli.main import main
from tests.bundles.conftest import BUNDLES


def test_order_numbers_and_text_are_kept():
    text = '{"b": [1.0, 1e-3, true], "a": {"ü": "$@x + \'/y\'"}}'
    assert json.loads(format_json(text)) == json.loads(text)
    assert format_json(text).splitlines()[:2] == ["{", '    "b": [']


def test_a_duplicate_key_is_rejected():
    with pytest.raises(ValueError, match=r"the duplicate keys \['a'\]"):
        format_json('{"a": 1, "a": 2}')


def test_check_changes_nothing_and_format_is_idempotent(tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(BUNDLES[0] / "configs", bundle / "configs")
    path = bundle / "configs/demo.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    before = path.read_bytes()
    assert main(["format-bundles", "--check", str(bundle)]) == 1
    assert path.read_bytes() == before
    assert main(["format-bundles", str(bundle)]) == 0
    assert json.loads(path.read_bytes()) == json.loads(before)
    assert main(["format-bundles", "--check", str(bundle)]) == 0
