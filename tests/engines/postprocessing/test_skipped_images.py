"""Inference writes nothing for an image that could not be read."""

import logging
from types import SimpleNamespace

import torch
from monai.data import MetaTensor

from mtmedformer_monai.engines import SavePredictions


def test_a_placeholder_is_not_written(tmp_path, caplog):
    image = MetaTensor(torch.zeros(1, 4, 4), meta={"filename_or_obj": ""})
    item = {"image": image, "pred": torch.zeros(4, 4), "probs": {}, "result": {}}
    with caplog.at_level(logging.INFO):
        SavePredictions([], str(tmp_path))(SimpleNamespace(state=SimpleNamespace(output=[item])))
    assert list(tmp_path.iterdir()) == []
