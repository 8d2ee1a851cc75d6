"""Networks in other runtimes: the results are those of PyTorch, the guard's included."""

import json

import pytest
import torch
from torch import nn

from mtmedformer_monai.cli.main import main
from mtmedformer_monai.deploy import bundle_model, exported_network
from mtmedformer_monai.deploy.study_runner import RunnerOptions, StudyRunner
from mtmedformer_monai.uncertainty.guard import fit_guard, save_guard, tap_encoder
from mtmedformer_monai.uncertainty.posterior_file import WeightPosterior, save_posterior
from tests.deploy.conftest import CHEST
from tests.small_bundle import write_small_bundle


def test_the_command_runs_a_network_whose_outputs_and_features_are_those_of_pytorch(make_dicom, monkeypatch, tmp_path):
    """One test, because exporting takes long."""
    expected_network = write_small_bundle(tmp_path / "bundle", ["finding"])
    noise = torch.rand(32, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), tap_encoder(expected_network) as features:
        expected_network(noise)
    save_guard(fit_guard(features[0][:12], features[0][12:]), tmp_path / "bundle/models/model.pt")
    exported = []

    def keep(*arguments):
        exported.append(exported_network.run_elsewhere(*arguments))
        return exported[-1]

    monkeypatch.setattr(bundle_model, "run_elsewhere", keep)
    path = make_dicom(rows=64, columns=48, BodyPartExamined="CHEST", ViewPosition="PA")
    places = ["--bundle", tmp_path / "bundle", "--input", path, "--output", tmp_path / "out"]
    assert main(["infer", *map(str, places), "--outputs", "seg", "--runtime", "onnx"]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["provenance"]["runtime"] == "onnx"
    assert results["studies"][0]["images"][0]["scores"]["guard_distance"] > 0
    (network,) = exported
    image = torch.rand(1, 1, 128, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), tap_encoder(expected_network) as expected, tap_encoder(network) as features:
        wanted, found = expected_network(image), network(image)
    assert list(found) == list(wanted)
    for name, output in wanted.items():  # float32 in another order of summation
        torch.testing.assert_close(found[name], output, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(features[0], expected[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"explain": True, "runtime": "onnx"}, "--explain needs gradients and --runtime torch, got onnx"),
        ({"runtime": "onnx", "device": "cuda:99"}, "--device cuda:99 is not available"),
        ({"runtime": "tensorrt"}, "--runtime expects one of torch, onnx, got 'tensorrt'"),
    ],
    ids=["explain", "device", "unknown"],
)
def test_what_another_runtime_cannot_do_is_an_error(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        StudyRunner(RunnerOptions(CHEST, tmp_path / "out", **options))


def test_samples_of_a_posterior_need_pytorch(tmp_path):
    write_small_bundle(tmp_path / "bundle", ["finding"])
    save_posterior(
        WeightPosterior({"w": torch.ones(2)}, {"w": torch.tensor(1.0)}), tmp_path / "bundle/models/posterior.pt"
    )
    configs = (CHEST / "configs/uncertainty.json",)
    with pytest.raises(ValueError, match="draws weights from the posterior, which needs --runtime torch, got onnx"):
        StudyRunner(RunnerOptions(tmp_path / "bundle", tmp_path / "out", configs=configs, runtime="onnx"))


def test_a_runtime_that_is_not_installed_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(exported_network, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"--runtime onnx needs onnxscript; install it with .*\[onnx\]"):
        exported_network.check_runtime("onnx")


def test_another_network_is_refused():
    with pytest.raises(ValueError, match="expects an MTMedFormer, got Linear"):
        exported_network.run_elsewhere(nn.Linear(1, 1), "onnx", (32, 32))
