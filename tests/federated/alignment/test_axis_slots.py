import torch

from mtmedformer_monai.federated.alignment.axis_slots import AxisSlot, AxisSlots
from mtmedformer_monai.layers.permutation_groups import Group, PermutationGroups

GROUPS = PermutationGroups(
    {"in": Group(2), "heads": Group(2), "keys": Group(4, "heads"), "out": Group(3)},
    {
        "first": (("in",), ()),
        "bias": (("in",),),
        "both": (("keys", "in"), ("in",)),
        "table": ((), ("heads",)),
        "last": (("out",), ("keys",)),
        "one": ((), ("out",)),
    },
)
SHAPES = {"first": (2, 9), "bias": (2,), "both": (6, 2), "table": (5, 2), "last": (3, 4), "one": (1, 3)}
FIRST, BIAS, TABLE, ONE = (
    AxisSlot("first", 0, 0, 2),
    AxisSlot("bias", 0, 0, 2),
    AxisSlot("table", 1, 0, 2),
    AxisSlot("one", 1, 0, 3),
)


def test_features_are_all_numbers_of_a_unit():
    tensor = torch.arange(24).reshape(2, 4, 3)
    assert AxisSlot("w", 1, 1, 2).features(tensor).tolist() == [[3, 4, 5, 15, 16, 17], [6, 7, 8, 18, 19, 20]]


def test_trees_and_what_tensors_they_share():
    slots = AxisSlots(GROUPS, SHAPES)
    assert slots.trees == {"in": ["in"], "heads": ["heads", "keys"], "out": ["out"]}
    assert slots.neighbors == {"in": {"heads"}, "heads": {"in", "out"}, "out": {"heads"}}


def test_a_slot_is_usable_for_a_group_once_the_other_axes_are_settled():
    slots = AxisSlots(GROUPS, SHAPES)
    assert slots.usable("in", set()) == [FIRST, BIAS]
    assert slots.usable("keys", set()) == []
    assert slots.usable("keys", {"in"}) == [AxisSlot("both", 0, 0, 4)]
    assert slots.usable("keys", {"in", "out"}) == [AxisSlot("both", 0, 0, 4), AxisSlot("last", 1, 0, 4)]
    assert slots.usable("heads", set()) == [TABLE]


def test_a_tensor_that_lists_a_group_along_two_axes_is_not_usable_for_it():
    assert AxisSlots(GROUPS, SHAPES).usable("in", {"in", "heads", "out"}) == [FIRST, BIAS]


def test_a_missing_tensor_is_not_used():
    assert AxisSlots(GROUPS, {"bias": (2,)}).usable("in", set()) == [BIAS]


def test_one_number_a_unit_is_no_anchor():
    slots = AxisSlots(GROUPS, SHAPES)
    assert slots.usable("out", set()) == [ONE]
    assert not slots.is_anchored("out", set())
    assert slots.is_anchored("out", {"heads"})
    assert slots.is_anchored("in", set())
