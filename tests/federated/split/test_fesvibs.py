import pytest
import torch

from mtmedformer_monai.federated.split import formulas
from mtmedformer_monai.federated.split.channel import DOWN, UP, CrossingKind
from mtmedformer_monai.federated.split.fesvibs import FeSViBS
from mtmedformer_monai.federated.split.pseudo_token import PseudoToken
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

SITE_PARTS = ("encoder.patches.", "encoder.pyramid.", "pyramids.", "decoders.")


def test_one_site_steps_as_its_parts_joined():
    system, site = FeSViBS(plain(), settings(), blocks=(2, 2)), make_site()
    expected = plain_step(system.network(), site.batches[0])
    system.round([site])
    got = system.network("a")
    assert largest_change(got, expected) < 1e-6  # float32 sums in another order


def test_blocks_are_drawn_for_each_site_and_round_out_of_the_range():
    system, drawn = FeSViBS(plain(depth=4), settings(), blocks=(2, 4)), set()
    for _ in range(8):
        system.round([])
        drawn.add((system.block_of("a"), system.block_of("b")))
    assert {block for pair in drawn for block in pair} == {2, 3, 4}
    assert len(drawn) > 3  # sites sample independently


def test_blocks_behind_the_drawn_one_stay_as_they_are():
    system, start = FeSViBS(plain(), settings(), blocks=(1, 1)), plain()
    system.round([make_site()])
    body = system.network().body.blocks.body
    assert largest_change(body.blocks[0], start.encoder.body.blocks[0]) > 1e-5
    assert largest_change(body.blocks[1], start.encoder.body.blocks[1]) == 0.0


def test_one_token_comes_down():
    listener = Listener()
    system, site = FeSViBS(plain(), settings(epochs=2), observer=listener), make_site(batches=[(2, TASKS), (1, TASKS)])
    first, second = system.round([site]), system.round([site])
    head_and_tails = num_weights(plain(), *SITE_PARTS)
    load = formulas.Load(epochs=2, images=3, tokens=16, width=32)
    expected = 4 * (2 * 2 * 3 * (16 + 1) * 32 + 2 * head_and_tails)
    assert first.each_round() == second.total() == 4 * formulas.fesvibs(load, head_and_tails) == expected
    assert second.total(direction=DOWN, kind=CrossingKind.FEATURES) == 4 * 2 * 3 * 32
    assert {tuple(each.shape[1:]) for each in listener.of(UP, CrossingKind.FEATURES)} == {(32, 4, 4)}


@torch.no_grad()
def test_a_pseudo_token_by_hand():
    token = PseudoToken(8).eval()
    token.convolution.norm.weight.zero_()
    token.convolution.norm.bias.zero_()  # leaves the mean over patches of GELU
    features = torch.randn(2, 8, 3, 5)
    expected = torch.nn.functional.gelu(features).mean(dim=(2, 3), keepdim=True)
    assert torch.allclose(token(features), expected)


def test_training_lowers_the_loss():
    system, losses = FeSViBS(plain(), settings(0.003, optimizer=torch.optim.AdamW), blocks=(1, 2)), []
    for _ in range(6):
        system.round([make_site()])
        losses.append(system.losses["a"])
    assert losses[-1] < 0.9 * losses[0]


def test_resumes_exactly_from_a_state():
    straight, resumed = (FeSViBS(plain(4), settings(optimizer=torch.optim.AdamW), blocks=(1, 4)) for _ in range(2))
    straight.round([make_site()])
    resumed.load_state_dict(straight.state_dict())
    for each in (straight, resumed):
        each.round([make_site()])
    assert largest_change(straight.network("a"), resumed.network("a")) == 0.0


def test_refuses_what_does_not_fit():
    with pytest.raises(TypeError, match="blocks have the same width, got HierarchicalTransformer; use a PlainViT"):
        FeSViBS(hierarchical(), settings())
    with pytest.raises(ValueError, match=r"\(first, last\) between 1 and 2, got \(1, 3\)"):
        FeSViBS(plain(), settings(), blocks=(1, 3))
