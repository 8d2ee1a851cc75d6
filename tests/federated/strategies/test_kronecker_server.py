import pytest
import torch

from mtmedformer_monai.federated.strategies.kronecker_server import KroneckerServer

START = {"a.weight": torch.zeros(2, 2), "a.bias": torch.zeros(2), "n.weight": torch.zeros(2)}


def message(**changes):
    terms = {
        "gram/a.weight": torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 1.0]),
        "gram_mean/a.weight": torch.ones(2, 3),
        "change/a.weight": torch.ones(2, 3),
        "count/a.weight": torch.tensor(1.0),
    }
    return {name: value for name, value in {**terms, **changes}.items() if value is not None}


def test_a_message_by_hand():
    """Two clients move all weights by 1 and by 3 at 1 and 3 images, with matrices I and 2 I: (1 + 18) / (1 + 6)."""
    server = KroneckerServer(START, ridge=0.0)
    server.add(message())
    server.add(
        {
            "gram/a.weight": 6 * message()["gram/a.weight"],
            "gram_mean/a.weight": torch.full((2, 3), 18.0),
            "change/a.weight": torch.full((2, 3), 9.0),
            "count/a.weight": torch.tensor(3.0),
        }
    )
    server.close_round()
    torch.testing.assert_close(server.weights()["a.weight"], torch.full((2, 2), 19 / 7))
    torch.testing.assert_close(server.weights()["a.bias"], torch.full((2,), 19 / 7))


WRONG = {
    "shape": (message(**{"gram/a.weight": torch.ones(3)}), ValueError, r"expects the shape \(6,\), got \(3,\)"),
    "not finite": (message(**{"change/a.weight": torch.full((2, 3), torch.inf)}), ValueError, "not finite"),
    "no layer": (message(**{"gram/n.weight": torch.ones(3)}), KeyError, "has no tensor 'gram/n.weight'"),
    "incomplete": (message(**{"change/a.weight": None}), KeyError, "got no change"),
    "no images": (message(**{"count/a.weight": torch.tensor(0.0)}), ValueError, "count of 1 image or more, got 0.0"),
    "extreme": (
        message(**{"gram/a.weight": torch.full((6,), 1e308, dtype=torch.float64)}),
        ValueError,
        r"beyond 1e\+18",
    ),
    "negative": (message(**{"gram/a.weight": -message()["gram/a.weight"]}), ValueError, "diagonal is 0 or more"),
    "no inputs": (
        message(**{"gram/a.weight": torch.full((6,), 1e-300, dtype=torch.float64)}),
        ValueError,
        "times it, got a mean",
    ),
    "unknown": (message(**{"precision/b": torch.ones(1)}), KeyError, "has no tensor 'precision/b'"),
}


@pytest.mark.parametrize(("wrong", "error", "match"), WRONG.values(), ids=WRONG)
def test_a_rejected_message_adds_nothing(wrong, error, match):
    server = KroneckerServer(START, ridge=0.0)
    with pytest.raises(error, match=match):
        server.add(wrong)
    assert server.state_dict()["layers"] == server.state_dict()["plain"] == {}
