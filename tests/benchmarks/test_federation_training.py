"""The augmentation of tensors."""

from __future__ import annotations

import torch
from federation_training import augment


def test_masks_and_boxes_move_together():
    mask = torch.zeros(8, 1, 64, 64)
    mask[:, :, 20:30, 12:40] = 1.0
    boxes = torch.full((8, 2, 5), -1.0)
    boxes[:, 0] = torch.tensor([12.0, 20.0, 40.0, 30.0, 0.0])
    targets = {"lung": mask, "box": boxes, "finding": torch.arange(8.0)}
    image, moved = augment(mask.clone(), targets, torch.Generator().manual_seed(0))
    starts = set()
    for index in range(8):
        rows, columns = moved["lung"][index, 0].nonzero().T
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert moved["box"][index, 0].tolist() == [*map(float, found), 0.0]
        assert torch.equal(image[index, 0] > 0, moved["lung"][index, 0] > 0)
        starts.add((int(found[0]), int(found[1])))
    assert len(starts) > 3
    assert all(abs(x - 12) <= 4 and abs(y - 20) <= 4 for x, y in starts)
    assert bool((moved["box"][:, 1] == -1).all())
    assert torch.equal(moved["finding"], torch.arange(8.0))


def test_missing_annotations_stay_missing():
    targets = {"lung": torch.full((2, 1, 32, 32), torch.nan), "box": torch.full((2, 3, 5), torch.nan)}
    _, moved = augment(torch.rand(2, 1, 32, 32), targets, torch.Generator().manual_seed(0))
    assert all(bool(torch.isnan(each).all()) for each in moved.values())


def test_boxes_outside_are_removed_and_others_clipped():
    boxes = torch.tensor([[[0.0, 0.0, 1.0, 1.0, 0.0], [30.0, 2.0, 32.0, 32.0, 0.0]]]).repeat(16, 1, 1)
    _, moved = augment(torch.rand(16, 1, 32, 32), {"box": boxes}, torch.Generator().manual_seed(1))
    real = moved["box"][moved["box"][..., 4] >= 0]
    assert 16 < len(real) < 32  # the small box leaves the image in most cases
    assert bool((real[:, :4] >= 0).all())
    assert bool((real[:, :4] <= 32).all())
    assert bool((real[:, 2:4] - real[:, :2] >= 1).all())
