"""Networks in other runtimes: the results are those of PyTorch, the guard's included."""

import json

import pytest
import torch

from mtmedformer_monai.cli.main import main
from mtmedformer_monai.deploy.bundle_model import load_model
from mtmedformer_monai.uncertainty.guard import tap_encoder
from tests.deploy.conftest import CHEST


@pytest.mark.parametrize(("runtime", "module"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_outputs_and_features_are_those_of_pytorch(models, runtime, module):
    pytest.importorskip(module)
    expected_network, network = models(CHEST).network, load_model(CHEST, "cpu", runtime=runtime).network
    image = torch.rand(1, 1, 128, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), tap_encoder(expected_network) as expected, tap_encoder(network) as features:
        wanted, found = expected_network(image), network(image)
    assert list(found) == list(wanted)
    for name, output in wanted.items():  # float32 in another order of summation
        torch.testing.assert_close(found[name], output, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(features[0], expected[0], rtol=1e-3, atol=1e-3)


def test_the_command_states_its_runtime_and_applies_the_guard(make_dicom, tmp_path):
    path = make_dicom(rows=64, columns=48, BodyPartExamined="CHEST", ViewPosition="PA")
    arguments = ["infer", "--bundle", CHEST, "--input", path, "--output", tmp_path / "out", "--outputs", "seg"]
    assert main([*map(str, arguments), "--runtime", "onnx"]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["provenance"]["runtime"] == "onnx"
    assert results["studies"][0]["images"][0]["scores"]["guard_distance"] > 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--explain"], "--explain needs gradients and --runtime torch, got onnx"),
        (["--device", "cuda:99"], "--device cuda:99 is not available"),
    ],
    ids=["explain", "device"],
)
def test_what_another_runtime_cannot_do_is_an_error(tmp_path, caplog, more, message):
    arguments = ["infer", "--bundle", CHEST, "--input", CHEST, "--output", tmp_path / "out", "--runtime", "onnx"]
    assert main([*map(str, arguments), *more]) == 2
    assert message in caplog.text
