import pytest
from torch import nn

from mtmedformer_monai.federated.split.factory import SPLIT_SYSTEMS, make_split_system
from mtmedformer_monai.federated.split.system import LocalSettings, SplitSystem
from mtmedformer_monai.losses.hybrid import HybridLoss
from tests.federated.split.tiny_sites import largest_change, make_site, make_tasks, plain, settings

UNFIT = [
    (HybridLoss(make_tasks(), balance="uncertainty", normalize=False), 1, "balance='fixed', got one with parameters"),
    (HybridLoss(make_tasks(), initial={"lung": 1.0}), 1, "expects the tasks' initial losses"),
    (HybridLoss(make_tasks(), normalize=False), 0, "epochs expects 1 or more, got 0"),
]


@pytest.mark.parametrize(("loss", "epochs", "message"), UNFIT, ids=["learned", "measured", "no epoch"])
def test_refuses_losses_that_differ_by_site(loss, epochs, message):
    with pytest.raises(ValueError, match=message):
        LocalSettings(loss, epochs=epochs)


@pytest.mark.parametrize("name", SPLIT_SYSTEMS)
def test_every_split_system_by_its_name(name):
    network = plain()
    system = make_split_system(name, network, settings())
    assert isinstance(system, SplitSystem)
    traffic = system.round([make_site()])
    assert traffic.total("a") == traffic.total() > 0
    assert set(system.losses) == {"a"}
    assert isinstance(system.network(), nn.Module)
    assert set(system.network()(make_site().batches[0]["image"])) == {"lung", "box", "finding"}
    assert largest_change(network, plain()) == 0.0  # copied, not trained


def test_the_factory_lists_the_choices():
    with pytest.raises(ValueError, match="one of festa, p_festa, fesvibs, task_agnostic, got 'feast'"):
        make_split_system("feast", plain(), settings())
    with pytest.raises(ValueError, match="'p_festa' has no setting 'alternate'; it has unify_every, seed, observer"):
        make_split_system("p_festa", plain(), settings(), alternate=False)
