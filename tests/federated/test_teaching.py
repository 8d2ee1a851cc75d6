import pytest
import torch

from mtmedformer_monai.federated.teaching import Completion, Gate, Teacher, teachers_of_groups


def one(value):
    return {"w": torch.tensor([value])}


def test_a_posterior_is_checked_by_two_draws_around_its_mean():
    mean, precision = {"w": torch.full((20000,), 2.0), "counter": torch.tensor(3)}, {"w": torch.full((20000,), 4.0)}
    first, second = Teacher(mean, precision, temperature=0.25).checks(seed=1)
    assert torch.equal(first["counter"], mean["counter"])
    for draw in (first, second):
        assert draw["w"].mean().item() == pytest.approx(2.0, abs=0.01)
        assert draw["w"].std().item() == pytest.approx(0.25, rel=0.03)  # (0.25 / 4) ** 0.5
    assert torch.corrcoef(torch.stack([first["w"], second["w"]]))[0, 1].abs() < 0.05
    again = Teacher(mean, precision, temperature=0.25).checks(seed=1)
    assert torch.equal(again[1]["w"], second["w"])


def test_without_a_posterior_the_weights_before_are_the_check():
    assert Teacher(one(1.0), previous=one(2.0)).checks(0) == [one(1.0), one(2.0)]
    assert Teacher(one(1.0)).checks(0) == []


def test_groups_teach_the_tasks_that_name_them():
    broadcast = {
        "mean/w": torch.zeros(1),
        "group_mean@lung+opacity/w": torch.tensor([1.0]),
        "group_precision@lung+opacity/w": torch.tensor([2.0]),
        "group_mean@finding/w": torch.tensor([5.0]),
    }
    teachers = teachers_of_groups(broadcast, temperature=0.5)
    assert sorted(teachers) == ["finding", "lung", "opacity"]
    assert teachers["lung"] is teachers["opacity"]
    assert (teachers["lung"].mean, teachers["lung"].precision, teachers["lung"].temperature) == (
        one(1.0),
        one(2.0),
        0.5,
    )
    assert teachers["finding"].precision is None


def test_a_task_of_two_groups_is_taught_by_their_product():
    """(1 * 2 + 3 * 6) / (1 + 3) = 5; without precisions, the mean of 2 and 6 is 4."""
    broadcast = {
        "group_mean@lung/w": torch.tensor([2.0]),
        "group_precision@lung/w": torch.tensor([1.0]),
        "group_mean@finding+lung/w": torch.tensor([6.0]),
        "group_precision@finding+lung/w": torch.tensor([3.0]),
    }
    teacher = teachers_of_groups(broadcast, 1.0)["lung"]
    assert (teacher.mean, teacher.precision) == (one(5.0), one(4.0))
    plain = {name: value for name, value in broadcast.items() if name.startswith("group_mean")}
    teacher = teachers_of_groups(plain, 1.0)["lung"]
    assert (teacher.mean, teacher.precision) == (one(4.0), None)


@pytest.mark.parametrize(
    "settings", [{"min_probability": 0.4}, {"min_score": 0.0}, {"agreement": 1.1}, {"box_iou": -0.1}]
)
def test_thresholds_out_of_range_are_rejected(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} expects a number from"):
        Gate(**settings)


def test_a_weight_of_zero_is_rejected_with_the_remedy():
    with pytest.raises(ValueError, match=r"completion_weight expects a number above 0, got 0.0; use `fedavg`"):
        Completion({}, weight=0.0)
