import itertools

import pytest
import torch

from mtmedformer_monai.federated.running_sum import RunningSum

SHAPES = {"w": torch.Size([2]), "count": torch.Size([])}


def running_sum() -> RunningSum:
    return RunningSum(SHAPES, kinds=("precision_mean", "precision"))


def terms(precision_mean: float, precision: float) -> dict[str, torch.Tensor]:
    return {"precision_mean/w": torch.full((2,), precision_mean), "precision/w": torch.full((2,), precision)}


def test_a_weighted_mean_by_hand():
    total = running_sum()
    total.add(terms(2.0 * 5.0, 2.0))
    total.add(terms(6.0 * 1.0, 6.0))
    assert total.weighted_means({"w": torch.zeros(2)})["w"].tolist() == [2.0, 2.0]  # (10 + 6) / 8


def test_what_nobody_sends_stays_bit_for_bit():
    total, before = running_sum(), torch.tensor([0.1, torch.pi])
    assert total.weighted_means({"w": before})["w"] is before
    total.add({"precision_mean/w": torch.tensor([3.0, 0.0]), "precision/w": torch.tensor([2.0, 0.0])})
    after = total.weighted_means({"w": before})["w"]
    assert after[0] == 1.5
    assert torch.equal(after[1], before[1])


def test_counters_are_rounded():
    total = running_sum()
    total.add({"precision_mean/count": torch.tensor(5.0), "precision/count": torch.tensor(2.0)})
    assert total.weighted_means({"count": torch.tensor(0)})["count"].tolist() == 2  # 2.5 to the even one


def test_any_order_and_grouping_gives_equal_bits():
    messages = [
        {
            "precision_mean/w": torch.randn(2, generator=torch.Generator().manual_seed(seed)),
            "precision/w": torch.rand(2),
        }
        for seed in range(4)
    ]
    sums = []
    for order in itertools.permutations(messages):
        total = running_sum()
        for message in order:
            total.add(message)
        sums.append(total.total["precision_mean/w"])
    pairs = running_sum()
    for one, other in (messages[:2], messages[2:]):
        pairs.add({name: one[name].double() + other[name].double() for name in one})
    assert all(torch.equal(each, pairs.total["precision_mean/w"]) for each in sums)


def test_sums_that_were_read_do_not_change_and_messages_are_left_as_they_are():
    total, message = running_sum(), {name: value.double() for name, value in terms(1.0, 1.0).items()}
    total.add(message)
    read = total.total
    total.add(terms(2.0, 1.0))
    assert read["precision_mean/w"].tolist() == message["precision_mean/w"].tolist() == [1.0, 1.0]
    assert total.total["precision_mean/w"].tolist() == [3.0, 3.0]


def test_scalars_are_one_number_a_parameter():
    total = RunningSum(SHAPES, kinds=("control",), scalars=("images",))
    total.add({"control/w": torch.ones(2), "images/w": torch.tensor(3.0)})
    assert total.names() == {"w"}
    with pytest.raises(ValueError, match=r"expects the shape \(\), got \(2,\)"):
        total.add({"images/w": torch.ones(2)})


def test_clearing_starts_anew():
    total = running_sum()
    total.add(terms(1.0, 1.0))
    total.clear()
    assert total.total == {}


@pytest.mark.parametrize(
    ("message", "error", "match"),
    [
        ({"precision_mean/v": torch.ones(2)}, KeyError, "no tensor 'precision_mean/v'"),
        ({"mean/w": torch.ones(2)}, KeyError, "no tensor 'mean/w'"),
        ({"precision_mean/w": torch.ones(3)}, ValueError, r"expects the shape \(2,\), got \(3,\)"),
        ({"precision_mean/w": torch.tensor([1.0, torch.nan])}, ValueError, "not finite"),
        ({"precision_mean/w": torch.full((2,), 1e200, dtype=torch.float64)}, ValueError, r"beyond 1e\+18"),
        (
            {**terms(1.0, 1.0), "precision/w": torch.tensor([1.0, 1e-30])},
            ValueError,
            "'precision_mean/w', divided by its precision",
        ),
    ],
    ids=["name", "kind", "shape", "not finite", "extreme", "extreme mean"],
)
def test_what_does_not_fit_is_refused_whole(message, error, match):
    total = running_sum()
    with pytest.raises(error, match=match):
        total.add({"precision/w": torch.ones(2), **message})
    assert total.total == {}


def test_a_mean_that_is_too_large_leaves_the_previous_value():
    """A client without images adds 1 to the sum, and another one has a precision of 1e-30."""
    total, before = running_sum(), {"w": torch.tensor([5.0, 6.0])}
    total.add({"precision_mean/w": torch.tensor([1.0, 0.0]), "precision/w": torch.zeros(2)})
    total.add({"precision_mean/w": torch.tensor([0.0, 2e-30]), "precision/w": torch.full((2,), 1e-30)})
    torch.testing.assert_close(total.weighted_means(before)["w"], torch.tensor([5.0, 2.0]))
