import json

import pytest

from mtmedformer_monai.cli.calibrate import _overrides
from mtmedformer_monai.cli.main import main, make_parser


def parse(*arguments):
    return make_parser().parse_args(["calibrate", *map(str, arguments)])


def test_image_size_is_that_of_the_weights(tmp_path):
    (tmp_path / "model.json").write_text(json.dumps({"image_size": [96, 64]}))
    options = parse("--datalist", tmp_path / "d" / "list.json", "--no-guard", "--sensitivity", 0.8, 0.99)
    overrides = _overrides(options, tmp_path / "model.pt")
    assert overrides["image_size"] == [96, 64]
    assert overrides["dataset_dir"] == str(tmp_path / "d")
    assert (overrides["sensitivities"], overrides["fit_guard"]) == ([0.8, 0.99], False)
    assert "image_size" not in _overrides(options, tmp_path / "other.pt")


@pytest.mark.parametrize("option", ["--datalist", "--ckpt"])
def test_missing_files_are_named(tmp_path, caplog, option):
    (tmp_path / "list.json").write_text("{}")
    given = {"--datalist": tmp_path / "list.json"} | {option: tmp_path / "none"}
    assert main(["calibrate", *(str(part) for pair in given.items() for part in pair)]) == 2
    assert f"no file at {tmp_path / 'none'}" in caplog.text
