import pytest
import torch
from monai.data import MetaTensor

from mtmedformer_monai.transforms import HidePatchesd
from mtmedformer_monai.transforms.augmentation.hide_patches import HIDDEN, hide_patches


def test_what_is_hidden_is_the_target_and_nothing_else(make_item):
    item = make_item(60, 40)
    hide = HidePatchesd(patch=16, ratio=0.5)
    hide.set_random_state(seed=0)
    out = hide(item)
    hidden = ~torch.isnan(out["reconstruction"])
    assert isinstance(out["image"], MetaTensor)
    assert out["image"].meta["to_source"].tolist() == item["image"].meta["to_source"].tolist()
    assert (out["image"][hidden] == HIDDEN).all()
    assert torch.equal(out["image"][~hidden], item["image"][~hidden])
    assert torch.equal(out["reconstruction"][hidden], item["image"].as_tensor()[hidden])
    assert torch.equal(out["map"].nan_to_num(), item["map"].nan_to_num())


def test_whole_patches_are_hidden_at_the_ratio(make_item):
    hide = HidePatchesd(patch=8, ratio=0.25)
    hide.set_random_state(seed=0)
    hidden = ~torch.isnan(hide(make_item(64, 64))["reconstruction"][0])
    patches = hidden.reshape(8, 8, 8, 8).float().mean(dim=(1, 3))
    assert set(patches.unique().tolist()) == {0.0, 1.0}
    assert int(patches.sum()) == 16


def test_same_seed_hides_the_same_patches_and_each_call_others(make_item):
    first, second = HidePatchesd(patch=8), HidePatchesd(patch=8)
    for hide in (first, second):
        hide.set_random_state(seed=3)
    one, other = first(make_item(64, 64))["image"], second(make_item(64, 64))["image"]
    assert torch.equal(one, other)
    assert not torch.equal(first(make_item(64, 64))["image"], one)


def test_background_is_not_hidden():
    image = torch.zeros(1, 10, 10)
    image[0, 9, 9] = 0.2  # in the last, truncated patch
    hidden = hide_patches(image, torch.ones(2, 2, dtype=torch.bool), 8)
    assert hidden[0, 8:, 8:].all()
    assert hidden.sum() == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"patch": 0}, "patch expects a side"), ({"ratio": 1.0}, "ratio expects a fraction")],
    ids=["patch", "ratio"],
)
def test_invalid_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        HidePatchesd(**arguments)
