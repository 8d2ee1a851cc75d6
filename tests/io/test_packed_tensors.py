from collections import OrderedDict

import pytest
import torch
from torch import nn

from mtmedformer_monai.io.atomic_files import load_checkpoint, save_state
from mtmedformer_monai.io.packed_tensors import LARGEST, pack, unpack
from tests.nested import assert_same

KINDS = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)


def state():
    numbers, images = torch.arange(24.0), torch.arange(96.0).reshape(2, 3, 4, 4)
    return {
        "kinds": {str(kind): torch.tensor([0, 1, 1, 0]).to(kind) for kind in KINDS},
        "shapes": [torch.tensor(2.5), torch.zeros(0), torch.zeros(2, 0, 3), numbers.reshape(2, 3, 4)],
        "strides": (
            numbers.reshape(4, 6).t(),
            numbers[::5],
            images.to(memory_format=torch.channels_last),
        ),
        "values": {"nan": torch.tensor([torch.nan, torch.inf]), "none": None, 3: True, "text": "a", "number": -0.5},
        "ordered": OrderedDict(b=torch.ones(2), a=torch.zeros(1)),
        "marks": ["\0", "\0000", "\0\0001", {"\0": ("\0", torch.ones(1))}],
        "large": torch.zeros(LARGEST),
        "empty": [{}, [], ()],
    }


def test_a_state_is_restored(tmp_path):
    assert_same(unpack(pack(state())), state(), equal_nan=True)
    save_state(state(), tmp_path / "state.pt")
    assert_same(load_checkpoint(tmp_path / "state.pt"), state(), equal_nan=True)


def test_small_tensors_are_joined_by_type_and_others_stay():
    large, parameter = torch.zeros(LARGEST), nn.Parameter(torch.ones(2))
    packed = pack({"a": torch.ones(3), "b": torch.zeros(2), "c": torch.tensor(1), "d": large, "e": parameter})
    joined = packed["joined"]
    assert {name: value.tolist() for name, value in joined.items()} == {
        "torch.float32": [1.0, 1.0, 1.0, 0.0, 0.0],
        "torch.int64": [1],
    }
    assert packed["packed state"]["d"] is large
    assert packed["packed state"]["e"] is parameter


def test_restored_tensors_share_no_memory():
    """Otherwise each would keep all others in memory, and write them wherever it is saved."""
    restored = unpack(pack([torch.zeros(3), torch.zeros(3)]))
    restored[0] += 1.0
    assert restored[1].tolist() == [0.0, 0.0, 0.0]
    assert all(each.untyped_storage().nbytes() == 12 for each in restored)


@pytest.mark.parametrize("content", [{"weights": {"a": 1}}, [1], "text", None, torch.ones(1)])
def test_anything_else_is_returned_as_it_is(content):
    assert unpack(content) is content


def test_joined_tensors_that_are_too_short_are_an_error():
    packed = pack({"a": torch.ones(3)})
    packed["joined"]["torch.float32"] = torch.ones(2)
    with pytest.raises(ValueError, match=r"expects 3 more numbers of torch.float32, got 2"):
        unpack(packed)
