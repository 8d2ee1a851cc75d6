"""Different transforms have different fingerprints, and equal ones the same."""

from __future__ import annotations

import operator
import re
import sys
import threading
from functools import partial
from types import ModuleType

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from mtmedformer_monai.data import fingerprint
from mtmedformer_monai.data.fingerprint import fingerprint_transforms


class Slots:
    """Has no `__dict__`."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def get(self):
        return self.value


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (partial(round, ndigits=1), partial(round, ndigits=2)),
        (Slots(1), Slots(2)),
        (Slots(1).get, Slots(2).get),
        (len, max),
        (operator.itemgetter(1), operator.itemgetter(2)),
        (re.compile("a"), re.compile("b")),
        (torch.float16, torch.float32),
        (np.float32(1), np.float32(2)),
        (np, torch),
        (slice(1), slice(2)),
        (MetaTensor(torch.ones(1), meta={"a": 1}), MetaTensor(torch.ones(1), meta={"a": 2})),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_that_hide_their_state(first, second):
    assert fingerprint_transforms([first]) == fingerprint_transforms([first])
    assert fingerprint_transforms([first]) != fingerprint_transforms([second])


def test_unknown_state_is_never_reused(caplog):
    lock = threading.Lock()
    assert fingerprint_transforms([lock]) != fingerprint_transforms([lock])
    assert "state of a lock is unknown" in caplog.text


@pytest.fixture(params=[True, False], ids=["notebook", "unregistered"])
def define(request, monkeypatch):
    """Executes code as in the cell of a notebook, and returns what it defines as `made`."""

    def run(code):
        notebook = ModuleType("notebook")
        if request.param:
            monkeypatch.setitem(sys.modules, "notebook", notebook)
        exec(code, vars(notebook))
        return notebook.made

    return run


@pytest.mark.parametrize(
    "code",
    [
        "made = lambda x: x * {}",
        "def made(x, *, scale={}): return x * scale",
        "scale = {}\ndef made(x): return x * scale",
        "def help(x): return x * {}\ndef made(x): return help(x)",
        "class Made:\n    def __call__(self, x): return x * {}\nmade = Made()",
        "class Base:\n    scale = {}\nclass Made(Base):\n    pass\nmade = Made()",
    ],
)
def test_code_without_a_file(define, code):
    first = fingerprint_transforms([define(code.format(2))])
    assert first == fingerprint_transforms([define(code.format(2))])
    assert first != fingerprint_transforms([define(code.format(3))])


def test_modules_that_a_module_imports(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "made_helper.py").write_text("def scale(x): return 2 * x")
    (tmp_path / "made_steps.py").write_text("from made_helper import scale\nclass Step:\n    pass\n")
    from made_steps import Step

    before = fingerprint_transforms([Step()])
    (tmp_path / "made_helper.py").write_text("def scale(x): return 3 * x")
    fingerprint._source_of.cache_clear()  # as in another process
    assert fingerprint_transforms([Step()]) != before


def test_versions_of_decoders(monkeypatch):
    before = fingerprint_transforms([])
    known = fingerprint.version
    monkeypatch.setattr(fingerprint, "version", lambda name: "0" if name == "pillow" else known(name))
    assert fingerprint_transforms([]) != before
