import pytest
import torch
from torch import nn

from mtmedformer_monai.layers.group_declaration import Declaration, permutation_groups
from mtmedformer_monai.layers.permutation_groups import FIXED, Group


class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        self.expand = nn.Linear(3, 4)
        self.norm = nn.GroupNorm(2, 4)
        self.contract = nn.Linear(4, 2)
        self.register_buffer("steps", torch.zeros(1))

    def permutable(self, declare):
        hidden = declare.group("hidden", 4, blocks=[2])
        declare.layer("expand", FIXED, hidden)
        declare.norm("norm", hidden)
        declare.layer("contract", hidden, FIXED)
        declare.fixed("steps")


class Pair(nn.Module):
    """A network of two such layers whose declaration is given."""

    def __init__(self, says):
        super().__init__()
        self.first, self.second = Perceptron(), Perceptron()
        self.plain = nn.Conv2d(4, 6, 1)
        self.each = nn.Conv2d(6, 6, 3, groups=6)
        self.says = says

    def permutable(self, declare):
        declare.child("first")
        declare.child("second")
        self.says(declare)


def test_axes_index_groups_by_full_names():
    groups = permutation_groups(Perceptron())
    assert groups.groups == {"hidden/2": Group(2), "hidden": Group(4, "hidden/2")}
    assert groups.axes == {
        "expand.weight": (("hidden",), ()),
        "expand.bias": (("hidden",),),
        "norm.weight": (("hidden",),),
        "norm.bias": (("hidden",),),
        "contract.weight": ((), ("hidden",)),
        "contract.bias": ((),),
        "steps": (),
    }
    assert groups.root("hidden") == "hidden/2"


def test_names_of_children_are_prefixed():
    groups = permutation_groups(Pair(lambda declare: declare.fixed("plain", "each")))
    assert groups.axes["second.expand.weight"] == (("second.hidden",), ())
    assert groups.groups["second.hidden"].within == "second.hidden/2"
    assert groups.axes["plain.weight"] == ()


def test_undeclared_parameters_are_refused():
    with pytest.raises(ValueError, match=r"contains \['plain.weight', 'plain.bias'\]; declare what their axes index"):
        permutation_groups(Pair(lambda declare: declare.fixed("each")))


def test_a_module_without_declaration_is_refused():
    with pytest.raises(TypeError, match=r"'plain': Conv2d declares no permutation groups; give it a method"):
        permutation_groups(Pair(lambda declare: declare.child("plain")))


def test_an_axis_of_several_groups_and_the_heads():
    declare = Declaration(nn.Linear(4, 14))
    heads, keys, values = declare.heads(2, 4)
    other = declare.group("other", 6)
    declare.tensor("weight", keys + other + values)
    groups = declare.record.finish()
    assert list(groups.parts(groups.axes["weight"][0])) == [("keys", 0, 4), ("other", 4, 6), ("values", 10, 4)]
    assert groups.root("keys") == groups.root("values") == heads[0]


def test_tied_streams_become_one_with_their_blocks():
    declare = Declaration(Perceptron())
    one, two = (declare.group(name, 4, blocks=[2]) for name in ("one", "two"))
    declare.layer("expand", FIXED, two)
    declare.tie(one, two)
    groups = declare.record.finish()
    assert groups.groups == {"one/2": Group(2), "one": Group(4, "one/2")}
    assert groups.axes["expand.bias"] == (("one",),)


MISTAKES = {
    "size": (lambda d: d.layer("plain", d.group("a", 4), d.group("b", 5)), r"axis 0 can't index \('b',\), which has 5"),
    "twice": (lambda d: (d.fixed("plain"), d.tensor("plain.bias")), "'plain.bias' is declared twice"),
    "label": (lambda d: (d.group("a", 2), d.group("a", 2)), "group 'a' is declared twice"),
    "blocks": (lambda d: d.group("a", 5, d.group("b", 2)), "group 'a' expects a multiple of 2 blocks, got 5"),
    "norm": (lambda d: d.inside("first").norm("norm", d.group("a", 4)), r"declare the group with blocks=\[2\]"),
    "tie": (lambda d: d.tie(d.group("a", 4), d.group("b", 4, blocks=[2])), "can't be tied: they differ in size or bl"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_refused(mistake):
    says, message = MISTAKES[mistake]
    with pytest.raises(ValueError, match=message):
        says(Declaration(Pair(None)))


@pytest.mark.parametrize("name", ["each", "first.norm"])
def test_a_layer_of_another_kind_is_refused(name):
    declare = Declaration(Pair(None))
    with pytest.raises(TypeError, match=f"'{name}' expects nn.Linear or an ungrouped"):
        declare.layer(name, FIXED, FIXED)
    with pytest.raises(TypeError, match=r"'plain' expects a depthwise nn.Conv2d"):
        declare.depthwise("plain", FIXED)
    with pytest.raises(TypeError, match=r"'plain' expects nn.LayerNorm or nn.GroupNorm"):
        declare.norm("plain", FIXED)
