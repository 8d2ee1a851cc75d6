import pytest
import torch

from mtmedformer_monai.federated.pvi import PVI
from mtmedformer_monai.federated.strategies import FedAvg
from mtmedformer_monai.federated.strategy import LocalTraining
from mtmedformer_monai.federated.wire import Wire, decode, num_bytes

SIZE = 20_000


def sent_by(strategy) -> dict[str, torch.Tensor]:
    """Returns the first message of a client with 20 000 weights."""
    generator = torch.Generator().manual_seed(0)
    start = {"w": torch.randn(100, 200, generator=generator)}
    rule = strategy.client()
    rule.receive(strategy.server(start).broadcast())
    trained = {"w": start["w"] + 0.1 * torch.randn(100, 200, generator=generator)}
    return rule.send(LocalTraining(trained, {"w": 50}, {"w": torch.randn(100, 200, generator=generator) ** 2}))


@pytest.mark.parametrize(
    ("half_mean", "curvature", "expected"),
    [(False, 1.0, 1.25), (True, 1.0, 0.75), (False, 0.0, 1.0), (True, 0.0, 0.5)],
    ids=["float32 mean", "float16 mean", "float32 mean, isotropic", "float16 mean, isotropic"],
)
def test_bytes_beside_federated_averaging(half_mean, curvature, expected):
    upload_of_fedavg = 4 * SIZE  # its float32 weights
    packet = Wire(half_mean).encode(sent_by(PVI(coded_precision=True, curvature=curvature)))
    assert num_bytes(packet) / upload_of_fedavg == pytest.approx(expected, abs=1e-3)


def test_federated_averaging_takes_its_float32_weights_and_loses_nothing():
    message = sent_by(FedAvg())
    packet = Wire().encode(message)
    assert num_bytes(packet) == 4 * SIZE + 4 + 16  # weights, number of images, shape
    assert all(torch.equal(value, message[name]) for name, value in decode(packet).items())


@pytest.mark.parametrize("half_mean", [False, True], ids=["float32 mean", "float16 mean"])
def test_a_rounded_change_arrives_as_it_was_made(half_mean):
    message = sent_by(PVI(coded_precision=True, curvature=1.0))
    arrived = decode(Wire(half_mean).encode(message))
    torch.testing.assert_close(arrived["precision/w"], message["precision/w"], rtol=1e-5, atol=0)
    largest = message["precision_mean/w"].abs().max().item()
    rounding = 2**-11 if half_mean else 0.0
    torch.testing.assert_close(
        arrived["precision_mean/w"], message["precision_mean/w"], rtol=rounding, atol=largest * 2**-24
    )


def test_what_rounding_took_is_sent_along_the_next_time():
    wire, generator = Wire(half_mean=True), torch.Generator().manual_seed(0)
    given, arrived = torch.zeros(1000, dtype=torch.float64), torch.zeros(1000, dtype=torch.float64)
    for _ in range(50):
        change = torch.randn(1000, generator=generator)
        given += change
        arrived += decode(wire.encode({"precision_mean/w": change}))["precision_mean/w"].double()
    assert (given - arrived).abs().max() < 2**-10  # of one message: half a unit of the last place below 4
    last = decode(wire.encode_last({"precision_mean/w": torch.zeros(1000)}))["precision_mean/w"]
    torch.testing.assert_close(arrived + last, given, rtol=0, atol=1e-5)
    assert wire.state_dict() == {"residual": {}}


def test_signs_zeros_and_small_tensors():
    message = {
        "precision/w": torch.tensor([0.0, -2.0, 8.0]),
        "precision/one": torch.tensor(-3.0),
        "precision_mean/w": torch.tensor([0.0, 0.5, -1e-30]),
        "control/w": torch.tensor([1.0, 2.0, 3.0]),
    }
    arrived = decode(Wire().encode(message))
    assert set(arrived) == set(message)
    for name, value in message.items():
        torch.testing.assert_close(arrived[name], value, rtol=1e-6, atol=0)


def test_it_resumes_after_restoring():
    wire, other = Wire(half_mean=True), Wire(half_mean=True)
    message = sent_by(PVI(coded_precision=True, curvature=1.0))
    wire.encode(message)
    other.load_state_dict(wire.state_dict())
    assert all(torch.equal(value, other.encode(message)[name]) for name, value in wire.encode(message).items())


def test_a_message_is_no_packet():
    with pytest.raises(ValueError, match=r"expects names such as .*, got 'precision_mean/w'"):
        decode({"precision_mean/w": torch.ones(2)})


def test_a_number_whose_shape_does_not_fit_is_refused():
    packet = {"repeated:precision/w": torch.ones(2), "shape:precision/w": torch.tensor([3])}
    with pytest.raises(ValueError, match="'precision/w' expects one number and its shape"):
        decode(packet)


def test_numbers_without_axes_keep_their_shape():
    """As a counter of batches does."""
    wire = Wire(half_mean=True)
    found = decode(wire.encode({"precision_mean/count": torch.tensor(3.0), "precision/count": torch.tensor(8.0)}))
    assert found == {"precision_mean/count": torch.tensor(3.0), "precision/count": torch.tensor(8.0)}
    assert {value.shape for value in found.values()} == {torch.Size()}


def test_a_unit_of_another_size_is_refused():
    packet = {"half:precision_mean/w": torch.ones(3).half(), "scale:precision_mean/w": torch.ones(2)}
    with pytest.raises(ValueError, match="the unit of 'precision_mean/w' expects one number, got 2"):
        decode(packet)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_decoding_a_packet_twice_gives_the_same(dtype):
    """A server decodes a packet to check it, and again to add it."""
    packet = {
        "half:precision_mean/w": torch.tensor([0.5, 1.0], dtype=dtype),
        "scale:precision_mean/w": torch.tensor([4.0], dtype=dtype),
    }
    for _ in range(2):
        torch.testing.assert_close(decode(packet), {"precision_mean/w": torch.tensor([2.0, 4.0])})
