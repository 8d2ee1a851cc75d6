import torch

from mtmedformer_monai.tasks import decode_boxes


def dense(rows: list[tuple[list[float], list[float]]]) -> torch.Tensor:
    """Rows of (box, class scores) to (A, 7 + K)."""
    return torch.tensor([[*box, 0.0, 0.0, 8.0, *scores] for box, scores in rows])


A, B, C = [0.0, 0, 10, 10], [0.0, 0, 10, 9], [20.0, 20, 30, 30]


def test_an_overlapping_box_of_the_same_class_is_removed():
    found = decode_boxes(dense([(B, [0.6]), (A, [0.9]), (C, [0.3])]))
    assert found.boxes.tolist() == [A, C]
    assert torch.allclose(found.scores, torch.tensor([0.9, 0.3]))
    assert found.classes.tolist() == [0, 0]


def test_an_overlapping_box_of_another_class_is_kept():
    found = decode_boxes(dense([(A, [0.9, 0.0]), (B, [0.0, 0.8])]))
    assert found.classes.tolist() == [0, 1]


def test_a_box_beyond_the_edge_does_not_meet_a_box_of_another_class():
    corner, beyond = [60.0, 60, 124, 124], [-60.0, -60, 10, 10]  # their distance is less than the larger one's reach
    found = decode_boxes(dense([(corner, [0.9, 0.0]), (beyond, [0.0, 0.8])]), nms_iou=0.3)
    assert found.boxes.tolist() == [corner, beyond]


def test_threshold_and_limit():
    output = dense([(A, [0.9]), (C, [0.3]), ([40.0, 40, 50, 50], [0.02])])
    assert len(decode_boxes(output).boxes) == 2
    assert decode_boxes(output, max_boxes=1).boxes.tolist() == [A]
    assert len(decode_boxes(output, score_threshold=0.95).boxes) == 0
