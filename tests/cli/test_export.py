import numpy as np
import onnxruntime
import pytest
import torch

from mtmedformer_monai.cli.main import main
from tests.small_bundle import write_small_bundle


@pytest.fixture
def small_bundle(tmp_path):
    return tmp_path / "bundle", write_small_bundle(tmp_path / "bundle", ["lung", "finding"])


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
