import logging
import re

import pytest

from mtmedformer_monai.engines import Progress
from mtmedformer_monai.engines.handlers.progress import duration
from tests.engines.tiny_training import build_training


def test_one_line_per_epoch(caplog, capsys):
    training = build_training(2)
    training.attach(Progress(training.evaluator, metrics=("lung_dice",), bar=False))
    with caplog.at_level(logging.INFO, logger="mtmedformer_monai.engines.handlers.progress"):
        training.run()
    first, last = (r.getMessage() for r in caplog.records if r.name == "mtmedformer_monai.engines.handlers.progress")
    pattern = r"epoch 1/2  loss -?\d+\.\d{3}  lung_dice \d\.\d{3}  mean_score \d\.\d{3}  \(.* per epoch, .* left\)"
    assert re.fullmatch(pattern, first)
    assert last.startswith("epoch 2/2")
    assert "left" not in last
    assert "batch" not in capsys.readouterr().err


def test_a_bar_on_a_terminal(capsys):
    training = build_training(1)
    training.attach(Progress(bar=True)).run()
    assert re.search(r"epoch 1/1.*\d/2", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (59, "59.0 s"), (61, "1 min 1 s"), (3660, "1 h 1 min")]
)
def test_duration(seconds, words):
    assert duration(seconds) == words
