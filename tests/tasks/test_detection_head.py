import pytest
import torch

from mtmedformer_monai.keys import BoxRow
from mtmedformer_monai.tasks.detection_head import PRIOR, DetectionDecoder, boxes_of, points_of


def test_points_are_the_centers_of_cells_in_row_major_order():
    points = points_of(2, 3, 8, torch.zeros(1))
    assert points.tolist() == [[4, 4, 8], [12, 4, 8], [20, 4, 8], [4, 12, 8], [12, 12, 8], [20, 12, 8]]


def test_distances_are_left_top_right_bottom_in_strides():
    box = boxes_of(torch.tensor([[20.0, 12, 8]]), torch.tensor([[[1.0, 0.5, 2, 0.25]]]))
    assert box.tolist() == [[[12, 8, 36, 14]]]


def test_rows_of_all_levels_with_few_scores_at_the_start():
    torch.manual_seed(0)
    decoder = DetectionDecoder(16, 2, strides=[4, 8, 16], levels=[1, 2])
    pyramid = [torch.rand(2, 16, 64 // s, 32 // s) for s in (4, 8, 16)]
    rows = decoder([], pyramid, (64, 32))
    assert rows.shape == (2, 8 * 4 + 4 * 2, 9)
    assert (
        rows[0, :, BoxRow.POINT].tolist() == torch.cat([points_of(8, 4, 8, rows), points_of(4, 2, 16, rows)]).tolist()
    )
    assert rows[..., BoxRow.LOGITS].sigmoid().mean().item() == pytest.approx(
        PRIOR, rel=0.2
    )  # weights of 0.01 spread it
    boxes, points = rows[..., BoxRow.BOX], rows[..., BoxRow.POINT]
    assert (boxes[..., :2] < points[..., :2]).all()
    assert (boxes[..., 2:] > points[..., :2]).all()
