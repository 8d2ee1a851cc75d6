import pytest
import torch

from mtmedformer_monai.federated.alignment.axis_slots import AxisSlot
from mtmedformer_monai.federated.alignment.similarity import UnitComparison, metric_of

SLOTS = [AxisSlot("w", 0, 0, 2)]
OURS, THEIRS = torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.tensor([[3.0, 3.0], [1.0, 0.0]])


def test_similarity_by_hand():
    similarity = UnitComparison({"w": OURS}, {}).similarity({"w": THEIRS}, SLOTS, 2)
    assert similarity.distance.tolist() == [4 + 9, 4 + 16]
    assert similarity.ours.tolist() == [1 + 4, 1 + 4]  # from the mean (2, 2)
    assert similarity.theirs.tolist() == [1 + 1, 1 + 4]


def test_what_all_units_share_is_no_similarity():
    similarity = UnitComparison({"w": OURS + 100}, {}).similarity({"w": THEIRS + 100}, SLOTS, 2)
    assert similarity.ours.tolist() == pytest.approx([5, 5], abs=0.05)  # of squares around 10,000, in float32


@pytest.mark.parametrize("metric", [{}, {"w": torch.tensor([[1.0, 2.0], [0.5, 3.0]])}], ids=["plain", "weighted"])
def test_values_are_half_of_what_an_order_takes_from_the_distance(metric):
    comparison = UnitComparison({"w": OURS}, metric)
    values = comparison.values({"w": THEIRS}, SLOTS, 2)
    stay = comparison.similarity({"w": THEIRS}, SLOTS, 2).distance.sum()
    move = comparison.similarity({"w": THEIRS.flip(0)}, SLOTS, 2).distance.sum()
    assert 2 * (values[0, 1] + values[1, 0] - values.trace()).item() == pytest.approx((stay - move).item())


def test_weighted_similarity_by_hand():
    metric = {"w": torch.tensor([[1.0, 2.0], [0.0, 3.0]])}
    similarity = UnitComparison({"w": OURS}, metric).similarity({"w": THEIRS}, SLOTS, 2)
    assert similarity.distance.tolist() == [4 + 2 * 9, 3 * 16]
    assert similarity.ours.tolist() == [1 + 2 * 4, 3 * 4]
    assert similarity.theirs.tolist() == [1 + 2 * 1, 3 * 4]


def test_metric_has_mean_one_and_the_given_share_of_precision():
    precision = {"w": torch.tensor([0.0, 4.0]), "v": torch.tensor([0.0, 0.0])}
    assert metric_of(precision, 0.5)["w"].tolist() == [0.5, 1.5]
    assert metric_of(precision, 0.0)["w"].tolist() == [1.0, 1.0]
    assert metric_of(precision, 0.5)["v"].tolist() == [0.5, 0.5]
