import json

import numpy as np
import onnxruntime
import pytest
import torch
from monai.bundle import ConfigParser

from mtmedformer_monai.cli.main import main
from tests.bundles.conftest import ROOT


@pytest.fixture
def small_bundle(tmp_path):
    """The chest bundle with two of its tasks, a small encoder and random weights: export time grows with both."""
    config = json.loads((ROOT / "bundles/chest_xray_multitask/configs/inference.json").read_text())
    config["tasks"] = [task for task in config["tasks"] if task["name"] in ("lung", "finding")]
    config["network_def"]["encoder"]["size"] = {
        "_target_": "mtmedformer_monai.networks.TransformerSize",
        "widths": [8, 16],
        "depths": [1, 1],
        "heads": [1, 2],
        "reductions": [2, 1],
        "mlp_ratios": [2, 2],
    }
    folder = tmp_path / "bundle"
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs/inference.json").write_text(json.dumps(config))
    network = ConfigParser(config).get_parsed_content("network_def").eval()
    torch.save(network.state_dict(), folder / "models/model.pt")
    return folder, network


def test_outputs_are_named_by_task_and_equal_at_any_batch_and_size(small_bundle, tmp_path):
    bundle, network = small_bundle
    path = tmp_path / "exported/model.onnx"
    assert main(["export", str(path), "--bundle", str(bundle)]) == 0
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["lung", "finding"]
    for shape in ((1, 1, 96, 160), (3, 1, 130, 101)):
        image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = network(image)
        for name, values in zip(["lung", "finding"], session.run(None, {"image": image.numpy()}), strict=True):
            np.testing.assert_allclose(values, expected[name].numpy(), atol=1e-4, err_msg=name)


def test_missing_weights_are_named(small_bundle, tmp_path, capsys, caplog):
    bundle, _ = small_bundle
    (bundle / "models/model.pt").unlink()
    assert main(["export", str(tmp_path / "model.onnx"), "--bundle", str(bundle)]) == 2
    assert "specify a bundle with --bundle, weights with --weights" in caplog.text
