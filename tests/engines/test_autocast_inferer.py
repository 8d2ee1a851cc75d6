import pytest
import torch

from mtmedformer_monai.engines import AutocastInferer
from tests.engines.tiny_training import TinyNetwork


def test_computes_in_bfloat16_and_returns_float32():
    torch.manual_seed(0)
    network, image, seen = TinyNetwork().eval(), torch.rand(2, 1, 16, 16), []
    network.mask.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    outputs = AutocastInferer()(image, network)
    exact = AutocastInferer(enabled=False)(image, network)
    assert seen == [torch.bfloat16, torch.float32]
    assert {output.dtype for output in outputs.values()} == {torch.float32}
    assert not torch.equal(outputs["lung"], exact["lung"])
    assert torch.allclose(outputs["lung"], exact["lung"], atol=0.02)  # bfloat16 has 8 bits of mantissa


def test_an_unsupported_dtype_is_refused():
    with pytest.raises(ValueError, match="dtype expects 'bfloat16' or 'float16', got 'int8'"):
        AutocastInferer(dtype="int8")
