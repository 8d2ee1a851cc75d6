"""Inference writes no results for unreadable images."""

import logging
from types import SimpleNamespace

import torch
from monai.data import MetaTensor

from mtmedformer_monai.engines import SavePredictions


def test_placeholders_are_not_written(tmp_path, caplog):
    image = MetaTensor(torch.zeros(1, 4, 4), meta={"filename_or_obj": ""})
    item = {"image": image, "pred": torch.zeros(4, 4), "probs": {}, "result": {}}
    with caplog.at_level(logging.INFO):
        SavePredictions([], str(tmp_path))(SimpleNamespace(state=SimpleNamespace(output=[item])))
    assert list(tmp_path.iterdir()) == []
