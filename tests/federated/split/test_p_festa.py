import pytest
import torch

from mtmedformer_monai.federated.split import formulas
from mtmedformer_monai.federated.split.channel import DOWN, UP, CrossingKind
from mtmedformer_monai.federated.split.p_festa import PFeSTA
from mtmedformer_monai.federated.split.patch_key import draw_key, shuffle, unshuffle
from mtmedformer_monai.federated.split.split_network import SplitNetwork
from tests.federated.split.tiny_sites import (
    TASKS,
    Listener,
    hierarchical,
    largest_change,
    make_site,
    num_weights,
    plain,
    plain_step,
    settings,
)
from tests.networks.small import largest_difference

TAILS = ("encoder.pyramid.", "pyramids.", "decoders.")


@torch.no_grad()
def test_shuffling_before_the_body_and_back_after_it_changes_no_output():
    split, image = SplitNetwork(plain().eval()), torch.rand(2, 1, 64, 96)
    patches = split.client.start(image)[-1]
    key = draw_key(patches, torch.Generator().manual_seed(0))
    returned = split.body(shuffle(patches, key))
    ordered = [unshuffle(each, key) for each in returned]
    assert largest_difference(split.client.finish([], ordered, (64, 96)), split(image)) < 1e-4  # boxes are in pixels
    wrong = split.client.finish([], returned, (64, 96))
    assert largest_difference(wrong, split(image)) > 1e-2


def test_one_site_steps_as_the_whole_network_with_its_patches_fixed():
    site, start = make_site(), plain()
    start.encoder.patches.requires_grad_(False)
    system = PFeSTA(plain(), settings())
    system.round([site])
    expected = plain_step(start, site.batches[0])
    assert largest_change(system.network(), expected) < 1e-5  # float32 sums in another order, behind a softmax
    assert largest_change(system.network(), plain()) > 1e-3


def test_the_head_stays_as_it_is_under_weight_decay_too():
    system, site = PFeSTA(plain(), settings(optimizer=torch.optim.AdamW)), make_site()
    for _ in range(2):
        system.round([site])
    assert largest_change(system.network().encoder.patches, plain().encoder.patches) == 0.0


def test_features_cross_once_and_then_half_of_what_festa_sends():
    system, site = PFeSTA(plain(), settings(epochs=2)), make_site(batches=[(2, TASKS), (1, TASKS)])
    first, second = system.round([site]), system.round([site])
    load = formulas.Load(epochs=2, images=3, tokens=16, width=32)
    tails = num_weights(plain(), *TAILS)
    assert second.total() == 4 * formulas.p_festa(load, tails) == 4 * (2 * 2 * 3 * 16 * 32 + 2 * tails)
    assert first.each_round() == second.total()
    assert first.total(direction=UP, kind=CrossingKind.ONCE) == 4 * formulas.p_festa_once(load) == 4 * 3 * 16 * 32


def test_the_key_never_crosses():
    listener, site = Listener(), make_site()
    system = PFeSTA(plain(), settings(), observer=listener)
    system.round([site])
    key = system.state_dict()["kept"]["a"][0]["key"]
    assert all(row.sort().values.tolist() == list(range(16)) for row in key)
    assert key[0].tolist() != key[1].tolist()
    assert not any(each.flatten().tolist() == key.flatten().tolist() for _, each in listener.received)
    assert all(each.is_floating_point() for _, each in listener.received)
    ordered = SplitNetwork(plain()).client.start(site.batches[0]["image"])[-1]
    (sent,) = [each for each in listener.of(UP, CrossingKind.ONCE) if each.shape == ordered.shape]
    assert not torch.allclose(sent, ordered, atol=1e-2)
    assert torch.allclose(unshuffle(sent, key), ordered)


def test_sites_draw_keys_of_their_own():
    system = PFeSTA(plain(), settings())
    system.round([make_site("a"), make_site("b")])
    keys = [system.state_dict()["kept"][name][0]["key"] for name in "ab"]
    assert not torch.equal(*keys)


def test_training_lowers_the_loss():
    system, site, losses = PFeSTA(plain(), settings(0.003, optimizer=torch.optim.AdamW)), make_site(), []
    for _ in range(6):
        system.round([site])
        losses.append(system.losses["a"])
    assert losses[-1] < 0.9 * losses[0]


def test_resumes_exactly_from_a_state():
    straight, resumed = (PFeSTA(plain(), settings(optimizer=torch.optim.AdamW)) for _ in range(2))
    straight.round([make_site()])
    resumed.load_state_dict(straight.state_dict())
    traffic = [each.round([make_site()]) for each in (straight, resumed)]
    assert largest_change(straight.network(), resumed.network()) == 0.0
    assert (
        traffic[1].total(direction=UP, kind=CrossingKind.ONCE)
        == traffic[1].total(direction=DOWN, kind=CrossingKind.ONCE)
        == 0
    )


def test_refuses_a_body_that_knows_places():
    with pytest.raises(TypeError, match="not depend on their positions, got HierarchicalTransformer; use a PlainViT"):
        PFeSTA(hierarchical(), settings())
