"""TorchScript and ONNX exports return the same outputs as the network, also at other image sizes."""

import io

import onnxruntime
import pytest
import torch

from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer, SelectOutput, TransformerSize, export_onnx
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask
from tests.networks.small import STEMS, largest_difference, small_network


def saved_and_loaded(script: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    buffer = io.BytesIO()
    torch.jit.save(script, buffer)
    buffer.seek(0)
    return torch.jit.load(buffer)


@pytest.mark.parametrize(("detail", "after_stem"), list(STEMS.values()), ids=list(STEMS))
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "apart"])
@torch.no_grad()
def test_scripts_with_every_kind_of_task(shared, detail, after_stem):
    network = small_network(shared_pyramid=shared, detail=detail, after_stem=after_stem).eval()
    script = saved_and_loaded(torch.jit.script(network))
    for size in ((64, 64), (100, 70)):
        image = torch.rand(2, 1, *size)
        assert largest_difference(network(image), script(image)) < 1e-4


@torch.no_grad()
def test_select_output_scripts():
    chosen = SelectOutput(small_network().eval(), ["mask"], background=True)
    image = torch.rand(1, 1, 64, 70)
    assert torch.allclose(saved_and_loaded(torch.jit.script(chosen))(image), chosen(image), atol=1e-5)


@torch.no_grad()
def test_traces():
    network = small_network().eval()
    traced = torch.jit.trace(network, torch.rand(1, 1, 64, 64), strict=False)
    image = torch.rand(2, 1, 64, 64)
    assert largest_difference(network(image), traced(image)) < 1e-4


def test_a_network_whose_export_fails_stays_in_training_mode(tmp_path):
    network = SelectOutput(small_network(), ["mask"])  # returns a tensor
    network.train()
    with pytest.raises(TypeError, match="expects to return a dict keyed by task name"):
        export_onnx(network, tmp_path / "network.onnx")
    assert all(module.training for module in network.modules())


@pytest.mark.slow  # the command's test exports, too
@torch.no_grad()
def test_onnx_takes_any_batch_and_size(tmp_path):
    # Two stages: each more adds seconds of symbolic shapes to the export, and no new kind of operation.
    size = TransformerSize((8, 16), (1, 1), heads=(1, 2), reductions=(2, 1), mlp_ratios=(2, 2))
    tasks = [
        SegmentationTask("mask", ["lung"]),
        DetectionTask("box", ["mass"], levels=[1]),
        ClassificationTask("label", ["no", "yes"], "binary"),
    ]
    network = MTMedFormer(HierarchicalTransformer(size), tasks, 16).eval()
    assert export_onnx(network, tmp_path / "network.onnx", (40, 24)) == ["mask", "box", "label"]
    session = onnxruntime.InferenceSession(str(tmp_path / "network.onnx"), providers=["CPUExecutionProvider"])
    for shape in ((2, 1, 40, 24), (1, 1, 30, 33), (3, 1, 17, 64)):
        image = torch.rand(shape)
        given = session.run([task.name for task in tasks], {"image": image.numpy()})
        expected = network(image)
        for task, output in zip(tasks, given, strict=True):
            assert torch.allclose(torch.from_numpy(output), expected[task.name], atol=1e-4)  # boxes: pixels


def test_onnx_export_refuses_a_network_without_names(tmp_path):
    chosen = SelectOutput(small_network(), ["mask"])
    with pytest.raises(TypeError, match="dict keyed by task name, got Tensor"):
        export_onnx(chosen, tmp_path / "network.onnx", (64, 64))
    assert list(tmp_path.iterdir()) == []
