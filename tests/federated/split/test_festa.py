from itertools import pairwise

import pytest
import torch

from mtmedformer_monai.federated.split import formulas
from mtmedformer_monai.federated.split.channel import DOWN, UP, CrossingKind
from mtmedformer_monai.federated.split.festa import FeSTA
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
    with_stem,
)

SITE_PARTS = ("encoder.stages.0.", "pyramids.", "decoders.")
MADE_BY_SUMS = 1e-6  # float32 sums in another order


@pytest.mark.parametrize("make", [hierarchical, with_stem, plain])
def test_one_site_steps_as_the_whole_network(make):
    site = make_site()
    system = FeSTA(make(), settings(), alternate=False)
    system.round([site])
    expected = plain_step(make(), site.batches[0])
    assert largest_change(expected, make()) > 1e-3
    assert largest_change(system.network(), expected) < MADE_BY_SUMS


def test_two_alike_sites_step_as_one():
    system = FeSTA(hierarchical(), settings(), alternate=False)
    system.round([make_site("a"), make_site("b")])
    assert largest_change(system.network(), plain_step(hierarchical(), make_site().batches[0])) < MADE_BY_SUMS


def test_the_body_steps_along_the_mean_of_the_sites():
    sites = [make_site("a", seed=1), make_site("b", seed=2)]
    system = FeSTA(hierarchical(), settings(), alternate=False)
    system.round(sites)
    one, two = (plain_step(hierarchical(), site.batches[0]).state_dict() for site in sites)
    got = system.network().state_dict()
    body = {name: each for name, each in got.items() if not name.startswith(SITE_PARTS)}
    assert largest_change(body, {name: (one[name] + two[name]) / 2 for name in body}) < MADE_BY_SUMS


def test_heads_and_tails_are_means_over_sites_that_share_a_task():
    sites = [make_site("a", [(1, ("lung",))], seed=1), make_site("b", [(3, ("lung", "finding"))], seed=2)]
    system = FeSTA(hierarchical(), settings(), alternate=False)
    system.round(sites)
    one, two = (plain_step(hierarchical(), site.batches[0]).state_dict() for site in sites)
    got, before = system.network("a").state_dict(), hierarchical().state_dict()
    for name in (each for each in got if each.startswith(("encoder.stages.0.", "decoders.lung."))):
        assert torch.allclose(got[name], (one[name] + 3 * two[name]) / 4, atol=MADE_BY_SUMS), name
    whole = system.network().state_dict()
    for name in (each for each in got if each.startswith("decoders.finding.")):
        assert torch.allclose(whole[name], two[name], atol=MADE_BY_SUMS), name
        assert torch.equal(got[name], before[name]), name  # a has no such label, and neither sends nor receives it
    assert all(torch.equal(whole[name], before[name]) for name in whole if name.startswith("decoders.box."))


def test_rounds_alternate_between_sites_and_body():
    system, site = FeSTA(hierarchical(), settings()), make_site()
    states = [hierarchical().state_dict()]
    for _ in range(2):
        system.round([site])
        states.append(system.network().state_dict())
    changed = [
        {name.startswith(SITE_PARTS) for name in after if not torch.equal(before[name], after[name])}
        for before, after in pairwise(states)
    ]
    assert changed == [{True}, {False}]


def test_unifies_every_so_many_rounds():
    sites = [make_site("a", seed=1), make_site("b", seed=2)]
    system = FeSTA(hierarchical(), settings(), unify_every=2, alternate=False)
    weights = [system.round(sites).total(kind=CrossingKind.WEIGHTS) for _ in range(2)]
    assert weights == [0, 2 * 2 * 4 * num_weights(hierarchical(), *SITE_PARTS)]
    assert largest_change(system.network("a"), system.network("b")) == 0.0


def test_bytes_of_a_plain_cut_are_those_of_the_formula():
    system, site = FeSTA(plain(), settings(epochs=2), alternate=False), make_site(batches=[(2, TASKS), (1, TASKS)])
    head_and_tails = num_weights(plain(), "encoder.patches.", "encoder.pyramid.", *SITE_PARTS[1:])
    first, second = system.round([site]), system.round([site])
    load = formulas.Load(epochs=2, images=3, tokens=16, width=32)
    assert second.total() == 4 * formulas.festa(load, head_and_tails) == 4 * (4 * 2 * 3 * 16 * 32 + 2 * head_and_tails)
    assert (first.each_round(), first.total(kind=CrossingKind.ONCE)) == (second.total(), 4 * head_and_tails)


def test_bytes_of_a_hierarchical_cut_by_hand():
    traffic = FeSTA(hierarchical(), settings(), alternate=False).round([make_site()])
    up = 2 * 16 * 16 * 16  # images, width, rows, columns of the first stage
    down = 2 * (32 * 8 * 8 + 40 * 4 * 4 + 64 * 2 * 2)  # the three other stages
    assert traffic.total(direction=UP, kind=CrossingKind.FEATURES) == 4 * up
    assert traffic.total(direction=DOWN, kind=CrossingKind.FEATURES) == 4 * down
    assert traffic.total(direction=UP, kind=CrossingKind.GRADIENTS) == 4 * down
    assert traffic.total(direction=DOWN, kind=CrossingKind.GRADIENTS) == 4 * up


def test_no_gradient_comes_down_to_a_head_held_fixed():
    system, site = FeSTA(plain(), settings()), make_site()
    gradients = [system.round([site]).total(direction=DOWN, kind=CrossingKind.GRADIENTS) for _ in range(2)]
    assert gradients == [4 * 2 * 16 * 32, 0]


def test_no_label_and_no_image_crosses():
    listener, site = Listener(), make_site()
    FeSTA(plain(), settings(), alternate=False, observer=listener).round([site])
    secrets = {(tuple(each.shape), float(each.sum())) for each in site.batches[0].values()}
    assert not secrets & {(tuple(each.shape), float(each.sum())) for _, each in listener.received}
    assert {tuple(each.shape) for each in listener.of(UP, CrossingKind.FEATURES)} == {(2, 32, 4, 4)}


def test_a_site_with_more_batches_continues_alone():
    sites = [make_site("a"), make_site("b", [(2, TASKS)] * 3)]
    traffic = FeSTA(plain(), settings(), alternate=False).round(sites)
    assert 3 * traffic.total("a", UP, CrossingKind.FEATURES) == traffic.total("b", UP, CrossingKind.FEATURES)


def test_training_lowers_the_loss():
    system = FeSTA(hierarchical(), settings(0.003, optimizer=torch.optim.AdamW))
    sites, losses = [make_site()], []
    for _ in range(10):
        system.round(sites)
        losses.append(system.losses["a"])
    assert losses[-1] < 0.9 * losses[0]


@torch.no_grad()
def test_resumes_exactly_from_a_state():
    sites = [make_site("a"), make_site("b", seed=5)]
    straight = FeSTA(hierarchical(), settings(optimizer=torch.optim.AdamW), unify_every=2, alternate=False)
    resumed = FeSTA(hierarchical(), settings(optimizer=torch.optim.AdamW), unify_every=2, alternate=False)
    with torch.enable_grad():
        straight.round(sites)
        resumed.load_state_dict(straight.state_dict())
        traffic = [each.round(sites) for each in (straight, resumed)]
    assert largest_change(straight.network("b"), resumed.network("b")) == 0.0
    assert traffic[0].bytes == traffic[1].bytes


def test_invalid_arguments_are_refused():
    with pytest.raises(ValueError, match="unify_every expects 1 round or more, got 0"):
        FeSTA(plain(), settings(), unify_every=0)
    with pytest.raises(KeyError, match="no site 'c'"):
        FeSTA(plain(), settings()).network("c")
