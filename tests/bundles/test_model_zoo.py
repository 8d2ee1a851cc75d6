"""The calls of the model zoo's `ci/verify_bundle.py`, with its ids and its relative paths, on a copy of each bundle.

The zoo calls `verify_net_in_out` on `network_def`, which has to return one tensor. Bundles that return several outputs
stand in its `exclude_verify_shape_list`; see docs/model_zoo.md. Their outputs are checked here one by one instead.
"""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export, verify_metadata, verify_net_in_out

from mtmedformer_monai.cli.format_bundles import unformatted
from mtmedformer_monai.io.file_sha256 import file_sha256
from tests.bundles.conftest import ROOT

SCHEMA = ROOT / "tests/bundles/meta_schema_20240725.json"
LARGEST_FILE = 25 * 1024**2  # bytes; larger ones are named in large_files.yml
LARGE_FILES = "large_files.yml"
PARTS_OF_CARD = (
    "### **Authors**",
    "### **Tags**",
    "## **Model Description**",
    "## **Data**",
    "#### **Preprocessing**",
    "## **Performance**",
    "## **System Configuration**",
    "## **Limitations**",
    "## **References**",
)


@pytest.fixture
def copy(bundle, tmp_path, monkeypatch):
    """The bundle as it would lie in the zoo, seen from the zoo's root: `models/<name>`."""
    shutil.copytree(bundle, tmp_path / "models" / bundle.name)
    (tmp_path / "models" / bundle.name / "eval").mkdir()
    shutil.copy(SCHEMA, tmp_path / "models" / bundle.name / "eval/schema.json")
    monkeypatch.chdir(tmp_path)
    return f"models/{bundle.name}"


def metadata_of(folder):
    return json.loads((folder / "configs/metadata.json").read_text())


def test_metadata(copy):
    verify_metadata(meta_file=f"{copy}/configs/metadata.json", filepath=f"{copy}/eval/schema.json")


def test_shape_of_the_network_is_excluded_because_it_returns_a_dict(copy):
    with pytest.raises(AttributeError, match="'dict' object has no attribute 'shape'"):
        verify_net_in_out(
            net_id="network_def",
            meta_file=f"{copy}/configs/metadata.json",
            config_file=f"{copy}/configs/inference.json",
            bundle_root=copy,
        )
    assert "exclude_verify_shape_list" in (ROOT / copy.replace("models", "bundles") / "docs/README.md").read_text()


def test_every_output_has_the_shape_and_dtype_of_the_metadata(copy):
    parser = ConfigParser()
    parser.read_config(f"{copy}/configs/inference.json")
    parser.read_meta(f"{copy}/configs/metadata.json")
    image = parser["_meta_::network_data_format::inputs::image"]
    with torch.no_grad():
        outputs = parser.get_parsed_content("network_def").eval()(torch.rand(1, 1, *image["spatial_shape"]))
    told = parser["_meta_::network_data_format::outputs"]
    assert [name for name in told if name != "pred"] == list(outputs)
    for name, output in outputs.items():
        assert [1, told[name]["num_channels"], *told[name]["spatial_shape"]] == list(output.shape), name
        assert f"torch.{told[name]['dtype']}" == str(output.dtype), name
        assert len(told[name]["channel_def"]) in (output.shape[1], output.shape[-1]), name


def test_weights_export_to_torchscript_and_load(copy):
    ckpt_export(
        net_id="network_def",
        filepath=f"{copy}/models/verify_model.ts",
        ckpt_file=f"{copy}/models/model.pt",
        meta_file=f"{copy}/configs/metadata.json",
        config_file=f"{copy}/configs/inference.json",
        bundle_root=copy,
    )
    names = [
        task["name"]
        for task in json.loads((ROOT / "bundles" / copy.split("/")[1] / "configs/train.json").read_text())["tasks"]
    ]
    with torch.no_grad():
        assert list(torch.jit.load(f"{copy}/models/verify_model.ts")(torch.rand(1, 1, 64, 96))) == names


def test_large_files_are_named_with_their_hash(bundle):
    """What is above the limit isn't committed to the zoo, but downloaded by `large_files.yml`."""
    listed = bundle / LARGE_FILES
    entries = ConfigParser.load_config_file(str(listed))["large_files"] if listed.is_file() else []
    for entry in entries:
        assert entry["url"].startswith("https://")
        assert (entry["hash_type"], entry["hash_val"]) == ("sha256", file_sha256(bundle / entry["path"]))
    large = [path for path in bundle.rglob("*") if path.is_file() and path.stat().st_size > LARGEST_FILE]
    assert [str(path.relative_to(bundle)) for path in large if str(path.relative_to(bundle)) not in
            [entry["path"] for entry in entries]] == []  # fmt: skip


def test_json_is_laid_out_as_the_hooks_want_it(bundle):
    assert unformatted(bundle) == [], "run `make format`"


def test_texts_end_with_one_line_break_and_no_line_with_a_blank(bundle):
    for path in bundle.rglob("*"):
        if path.suffix in {".json", ".md", ".txt", ".conf", ".yml"}:
            text = path.read_bytes().decode()
            assert text.endswith("\n"), path
            assert not text.endswith("\n\n"), path
            assert "\r" not in text, path
            assert [line for line in text.split("\n") if line != line.rstrip()] == [], path


def test_the_card_has_the_parts_of_the_zoos_template_in_order(bundle):
    text = (bundle / "docs/README.md").read_text()
    places = [text.index(part) for part in PARTS_OF_CARD]
    assert places == sorted(places)


def test_metrics_of_metadata_card_and_results_agree(bundle):
    metrics = metadata_of(bundle)["eval_metrics"]
    primary = [
        f"{name}_"
        for name in (task["name"] for task in json.loads((bundle / "configs/train.json").read_text())["tasks"])
    ]
    assert all(any(metric.startswith(name) for metric in metrics) for name in primary)
    card = (bundle / "docs/README.md").read_text()
    performance = card[card.index("## **Performance**") : card.index("## **System Configuration**")]
    (row,) = [line for line in performance.splitlines() if line.startswith("| shipped weights |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")[1:]]
    assert cells == [f"{value:.3f}" for value in metrics.values()]
    assert " | ".join(cells) in (ROOT / "docs/results.md").read_text()


def test_the_apps_that_run_it_are_named(bundle):
    assert "monai-label" in metadata_of(bundle)["supported_apps"]
