"""FLARE's homomorphic encryption sums natural parameters: the aggregate changes by less than 1e-5."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("nvflare", reason="NVIDIA FLARE is not installed: pip install 'mtmedformer-monai[flare]'")
pytest.importorskip("tenseal", reason="TenSEAL is not installed: pip install tenseal")

from benchmarks.he_cost import encrypted_sum
from mtmedformer_monai.federated.message import TensorKind, pick, without
from mtmedformer_monai.federated.strategies import make_strategy
from mtmedformer_monai.federated.strategy import LocalTraining

WEIGHTS = {"encoder.weight": (70, 80), "decoders.bias": (7,)}
TOLERANCE = 1e-5


@pytest.mark.parametrize("strategy", ["fedavg", "bayesian"])
@pytest.mark.parametrize("encrypted", ["^precision_mean/", "^precision_mean/decoders", "^precision"])
def test_means_of_encrypted_sums_equal_those_of_plain_sums(strategy, encrypted):
    generator = torch.Generator().manual_seed(0)
    start = {name: torch.randn(shape, generator=generator) for name, shape in WEIGHTS.items()}
    messages, server = [], make_strategy(strategy).server(start)
    for count in (40, 200, 1000):
        client = make_strategy(strategy).client()
        client.receive(server.broadcast())
        trained = {name: value + 0.1 * torch.randn(value.shape, generator=generator) for name, value in start.items()}
        sent = client.send(LocalTraining(trained, dict.fromkeys(start, count), images_by_task={"lung": count}))
        messages.append(without(without(sent, TensorKind.MOMENTS), TensorKind.GROUP))
    found, cost = encrypted_sum(messages, encrypted)
    assert cost.num_values == sum(
        value.numel() for name, value in messages[0].items() if name.startswith(encrypted[1:])
    )
    assert cost.num_bytes > 8 * cost.num_values
    weighted, precision = pick(found, TensorKind.PRECISION_MEAN), pick(found, TensorKind.PRECISION)
    for name in start:
        plain = [sum(each[f"{kind}/{name}"].double() for each in messages) for kind in ("precision_mean", "precision")]
        expected = plain[0] / plain[1]
        torch.testing.assert_close(weighted[name].double() / precision[name].double(), expected, rtol=0, atol=TOLERANCE)
