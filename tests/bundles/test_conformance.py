"""Each bundle keeps MONAI's bundle specification and passes what the model zoo checks."""

from __future__ import annotations

import json

import jsonschema
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out
from monai.bundle.properties import InferProperties, MetaProperties, TrainProperties

from tests.bundles.conftest import ROOT

SCHEMA = ROOT / "tests/bundles/meta_schema_20240725.json"
FILES = (
    "LICENSE",
    "configs/metadata.json",
    "configs/train.json",
    "configs/evaluate.json",
    "configs/inference.json",
    "configs/multi_gpu_train.json",
    "configs/logging.conf",
    "docs/README.md",
    "docs/data_license.txt",
    "models/model.pt",
)
ZOO_LIMIT_BYTES = 25 * 1024**2


def make_workflow(bundle, configs, kind, cohort, tmp_path, **overrides):
    workflow = ConfigWorkflow(
        config_file=[str(bundle / f"configs/{name}.json") for name in configs],
        meta_file=str(bundle / "configs/metadata.json"),
        logging_file=str(bundle / "configs/logging.conf"),
        workflow_type=kind,
        bundle_root=str(bundle),
        dataset_dir=str(cohort),
        output_dir=str(tmp_path),
        image_size=[64, 64],
        **overrides,
    )
    workflow.initialize()
    return workflow


@pytest.fixture
def parser(bundle):
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs/inference.json"))
    parser.read_meta(str(bundle / "configs/metadata.json"))
    return parser


@pytest.mark.parametrize("name", FILES)
def test_file_is_there(bundle, name):
    assert (bundle / name).stat().st_size > 0


def test_no_file_is_larger_than_the_zoo_takes(bundle):
    sizes = {path.name: path.stat().st_size for path in bundle.rglob("*") if path.is_file()}
    assert max(sizes.values()) < ZOO_LIMIT_BYTES


def test_metadata_fits_the_schema(bundle, tmp_path):
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    jsonschema.validate(metadata, json.loads(SCHEMA.read_text()))
    verify_metadata(meta_file=str(bundle / "configs/metadata.json"), filepath=str(SCHEMA))
    with pytest.raises(jsonschema.ValidationError, match="network_data_format"):
        jsonschema.validate(
            {k: v for k, v in metadata.items() if k != "network_data_format"}, json.loads(SCHEMA.read_text())
        )


def test_version_stands_in_the_changelog(bundle):
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    assert metadata["version"] in metadata["changelog"]


@pytest.mark.parametrize(
    ("configs", "kind", "properties"),
    [
        (["train"], "train", {**TrainProperties, **MetaProperties}),
        (["inference"], "infer", {**InferProperties, **MetaProperties}),
    ],
    ids=["train", "inference"],
)
def test_every_property_resolves(bundle, configs, kind, properties, cohort, tmp_path):
    workflow = make_workflow(bundle, configs, kind, cohort, tmp_path)
    assert workflow.check_properties() == []
    for name in properties:
        assert getattr(workflow, name) is not None, name


def test_the_schedule_follows_the_property_max_epochs_in_the_command_alone(bundle, cohort, tmp_path):
    """A stock federated client sets the property to the epochs of a round and does not use the command."""
    workflow = make_workflow(bundle, ["train"], "train", cohort, tmp_path, max_epochs=4)
    workflow.max_epochs = 6
    workflow.initialize()
    schedule, batches = workflow.parser.get_parsed_content("lr_scheduler"), len(workflow.trainer.data_loader)
    assert schedule.lr_lambdas[0].keywords["total_steps"] == 4 * batches
    workflow.parser.get_parsed_content("training#0")
    assert schedule.lr_lambdas[0].keywords["total_steps"] == 6 * batches
    assert workflow.parser.get_parsed_content("train#tracker#parameters#max_epochs") == 6


@pytest.mark.parametrize(("cache", "kind"), [("memory", "NoCache"), ("disk", "DiskCache")])
def test_an_evaluation_keeps_no_image_in_memory(bundle, cohort, tmp_path, cache, kind):
    workflow = make_workflow(bundle, ["train", "evaluate"], "train", cohort, tmp_path, cache=cache)
    assert type(workflow.parser.get_parsed_content("test#dataset")._cache).__name__ == kind


def test_weights_are_a_flat_state_dict_of_the_network(bundle, parser):
    state = torch.load(bundle / "models/model.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    parser.get_parsed_content("network_def").load_state_dict(state)


def test_network_in_and_out_as_the_zoo_verifies(bundle):
    verify_net_in_out(
        net_id="segmentation_network_def",
        meta_file=str(bundle / "configs/metadata.json"),
        config_file=str(bundle / "configs/inference.json"),
        bundle_root=str(bundle),
        device="cpu",
    )


def test_every_output_is_as_the_metadata_say(bundle, parser):
    outputs_meta = parser["_meta_#network_data_format#outputs"]
    image_meta = parser["_meta_#network_data_format#inputs#image"]
    network = parser.get_parsed_content("network_def").eval()
    with torch.no_grad():
        outputs = network(torch.rand(2, image_meta["num_channels"], *image_meta["spatial_shape"]))
    assert list(outputs_meta) == ["pred", *outputs]  # MONAI Label reads the first
    for name, output in outputs.items():
        meta = outputs_meta[name]
        assert tuple(output.shape) == (2, meta["num_channels"], *meta["spatial_shape"]), name
        assert str(output.dtype) == f"torch.{meta['dtype']}", name


def test_torchscript_export_gives_equal_outputs(bundle, parser, tmp_path):
    path = tmp_path / "model.ts"
    ckpt_export(
        net_id="network_def",
        filepath=str(path),
        ckpt_file=str(bundle / "models/model.pt"),
        meta_file=str(bundle / "configs/metadata.json"),
        config_file=str(bundle / "configs/inference.json"),
        bundle_root=str(bundle),
    )
    network, scripted = _trained(parser, bundle), torch.jit.load(path).eval()
    for size in ((224, 224), (100, 70)):
        image = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected, given = network(image), scripted(image)
        assert list(given) == list(expected)
        for name in expected:
            torch.testing.assert_close(given[name], expected[name], rtol=1e-4, atol=1e-4)


def _trained(parser, bundle):
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(bundle / "models/model.pt", weights_only=True))
    return network.eval()
