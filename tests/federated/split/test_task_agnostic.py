import pytest
import torch

from mtmedformer_monai.federated.split import formulas
from mtmedformer_monai.federated.split.channel import DOWN, CrossingKind
from mtmedformer_monai.federated.split.system import Site
from mtmedformer_monai.federated.split.task_agnostic import TaskAgnostic
from mtmedformer_monai.federated.strategies.norms import norm_parameters
from mtmedformer_monai.networks import MTMedFormer
from mtmedformer_monai.tasks import ReconstructionTask
from tests.federated.split.tiny_sites import (
    hierarchical,
    largest_change,
    make_site,
    num_weights,
    settings,
    with_stem,
)

MAKE = pytest.mark.parametrize("make", [hierarchical, with_stem])


def without_labels(site):
    return Site(site.name, [{"image": batch["image"]} for batch in site.batches])


@MAKE
def test_pretraining_needs_no_label_and_lowers_the_loss(make):
    system, losses = TaskAgnostic(make(), settings(0.003, optimizer=torch.optim.AdamW), 8), []
    for _ in range(8):
        system.round([without_labels(make_site())])
        losses.append(system.losses["a"])
    assert losses[-1] < 0.95 * losses[0]  # other patches are hidden each round
    assert largest_change(system.network().decoders, make().decoders) == 0.0
    for name, weight in make().encoder_state().items():
        if weight.dim() > 1:
            assert float((system.network().state_dict()[name] - weight).abs().max()) > 1e-3, name


@MAKE
def test_pretraining_sends_encoder_and_decoder_down_and_up_and_heads_nothing(make):
    system, site = TaskAgnostic(make(), settings(), 1), make_site()
    num = num_weights(MTMedFormer(make().encoder, [ReconstructionTask()]), "")
    assert system.round([site]).total() == 4 * formulas.task_agnostic(num) == 4 * 2 * num
    joining, later = system.round([site]), system.round([site])
    assert joining.total() == joining.total(direction=DOWN, kind=CrossingKind.ONCE)
    assert joining.total() == 4 * sum(each.numel() for each in make().encoder_state().values())
    assert later.total() == 0


def test_two_alike_sites_pretrain_as_one():
    systems = [TaskAgnostic(hierarchical(), settings(), 1) for _ in range(2)]
    systems[0].round([make_site("a")])
    systems[1].round([make_site("a"), make_site("a")])
    assert largest_change(systems[0].network(), systems[1].network()) < 1e-6


@MAKE
@pytest.mark.parametrize("adapt", ["frozen", "norms", "all"])
def test_which_part_of_the_encoder_is_trained(adapt, make):
    system = TaskAgnostic(make(), settings(optimizer=torch.optim.AdamW), 1, adapt)
    system.round([make_site()])
    before = system.network().encoder_state()
    system.round([make_site()])
    after = system.network("a").encoder_state()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    norms = set(norm_parameters(make())) & set(after)
    assert {"frozen": not changed, "norms": changed == norms, "all": changed > norms}[adapt]


def test_heads_stay_at_their_sites_and_are_averaged_for_evaluation_alone():
    system = TaskAgnostic(hierarchical(), settings(), 1)
    sites = [make_site("a", [(1, ("lung",))], seed=1), make_site("b", [(3, ("lung", "finding"))], seed=2)]
    for _ in range(2):
        system.round(sites)
    one, two, mean = (system.network(name).decoders.state_dict() for name in ("a", "b", ""))
    for name in one:
        share = 0.25 if name.startswith("lung") else 0.0
        expected = share * one[name] + (1 - share) * two[name]
        assert torch.allclose(mean[name], expected, atol=1e-6), name
    assert largest_change({"w": one["finding.query"]}, {"w": hierarchical().decoders["finding"].query}) == 0.0


def test_heads_lower_the_loss():
    system, losses = TaskAgnostic(hierarchical(), settings(0.01, optimizer=torch.optim.AdamW), 1), []
    for _ in range(7):
        system.round([make_site()])
        losses.append(system.losses["a"])
    assert losses[-1] < 0.9 * losses[1]


@pytest.mark.parametrize("rounds", [1, 2], ids=["before heads", "with heads"])
def test_resumes_exactly_from_a_state(rounds):
    straight, resumed = (TaskAgnostic(hierarchical(), settings(optimizer=torch.optim.AdamW), 1) for _ in range(2))
    for _ in range(rounds):
        straight.round([make_site()])
    resumed.load_state_dict(straight.state_dict())
    for each in (straight, resumed):
        each.round([make_site()])
    assert largest_change(straight.network("a"), resumed.network("a")) == 0.0


def test_invalid_arguments_are_refused():
    with pytest.raises(ValueError, match="pretraining_rounds expects 1 or more, got 0"):
        TaskAgnostic(hierarchical(), settings(), 0)
    with pytest.raises(ValueError, match="adapt expects one of frozen, norms, all, got 'half'"):
        TaskAgnostic(hierarchical(), settings(), adapt="half")
    with pytest.raises(KeyError, match="no site 'a' has trained heads yet"):
        TaskAgnostic(hierarchical(), settings()).network("a")
