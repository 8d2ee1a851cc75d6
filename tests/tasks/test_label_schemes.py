import math

import pytest
import torch
import torch.nn.functional as F

from mtmedformer_monai.tasks.label_schemes import SCHEMES

NAN = float("nan")
CASES = {  # targets of three images, the second of them missing
    "binary": (1, torch.tensor([1.0, NAN, 0.0])),
    "multiclass": (3, torch.tensor([2.0, NAN, 0.0])),
    "multilabel": (3, torch.tensor([[1.0, 0, 1], [NAN, NAN, NAN], [0, 0, 1]])),
    "ordinal": (3, torch.tensor([3.0, NAN, 1.0])),
}


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("junk", [0.0, float("inf"), NAN], ids=str)
def test_a_missing_label_is_as_if_the_image_were_not_there(kind, junk):
    torch.manual_seed(0)
    width, target = CASES[kind]
    logits = torch.randn(3, width)
    logits[1] = junk
    logits.requires_grad_()
    loss = SCHEMES[kind].loss(logits, target)
    loss.backward()
    assert loss.item() == pytest.approx(SCHEMES[kind].loss(logits[[0, 2]].detach(), target[[0, 2]]).item())
    assert (logits.grad[1] == 0).all()
    assert (logits.grad[[0, 2]] != 0).all()


@pytest.mark.parametrize("kind", CASES)
def test_no_label_at_all_is_an_exact_zero(kind):
    width, target = CASES[kind]
    logits = torch.randn(3, width, requires_grad=True)
    loss = SCHEMES[kind].loss(logits, torch.full_like(target, NAN))
    loss.backward()
    assert loss.item() == 0.0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("kind", CASES)
def test_zero_logits_cost_the_entropy_of_a_guess(kind):
    width, target = CASES[kind]
    expected = math.log(3) if kind == "multiclass" else math.log(2)
    assert SCHEMES[kind].loss(torch.zeros(3, width), target).item() == pytest.approx(expected)


def test_one_entry_of_a_multilabel_row_may_be_missing():
    loss = SCHEMES["multilabel"].loss(torch.tensor([[0.0, 5.0]]), torch.tensor([[1.0, NAN]]))
    assert loss.item() == pytest.approx(math.log(2))


def test_ordinal_loss_by_hand():
    logits = torch.tensor([[1.5, -0.5]])  # class 1 of 3: above 0, not above 1
    expected = (F.softplus(torch.tensor(-1.5)) + F.softplus(torch.tensor(-0.5))) / 2
    assert SCHEMES["ordinal"].loss(logits, torch.tensor([1.0])).item() == pytest.approx(expected.item())


@pytest.mark.parametrize(
    ("above", "probs"),
    [([0.8, 0.3], [0.2, 0.5, 0.3]), ([0.3, 0.8], [0.7, 0.0, 0.3])],
    ids=["falling", "rising_is_made_flat"],
)
def test_ordinal_probs_by_hand(above, probs):
    assert SCHEMES["ordinal"].probs(torch.tensor([above]).logit())[0].tolist() == pytest.approx(probs, abs=1e-6)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "ordinal"])
def test_probs_of_exclusive_classes_are_a_distribution(kind):
    torch.manual_seed(0)
    probs = SCHEMES[kind].probs(3 * torch.randn(50, CASES[kind][0]))
    assert (probs >= 0).all()
    assert torch.allclose(probs.sum(1), torch.ones(50))


def test_names_become_numbers():
    classes = ["a", "b", "c"]
    assert SCHEMES["multiclass"].encode("b", classes).item() == 1.0
    assert SCHEMES["multilabel"].encode(["a", "c"], classes).tolist() == [1, 0, 1]
    assert SCHEMES["multilabel"].encode([], classes).tolist() == [0, 0, 0]
    for kind, label in (("multiclass", "d"), ("ordinal", ["a"]), ("multilabel", ["a", "d"])):
        with pytest.raises(ValueError, match="is not one of the classes"):
            SCHEMES[kind].encode(label, classes)
