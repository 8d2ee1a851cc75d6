from fnmatch import fnmatchcase

import pytest

from mtmedformer_monai.federated.strategies.norms import NORM_PATTERNS, norm_parameters
from mtmedformer_monai.networks import MTMedFormer, PlainViT
from mtmedformer_monai.tasks import ClassificationTask
from tests.federated.shipped_networks import NETWORKS, make


def assert_patterns_name_its_norms(network):
    named = [each for each in network.state_dict() if any(fnmatchcase(each, pattern) for pattern in NORM_PATTERNS)]
    assert set(named) == set(norm_parameters(network))
    assert named


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "resnet50"])
def test_patterns_name_the_norms_of_every_network_that_we_ship(name):
    assert_patterns_name_its_norms(make(name))


def test_tasks_whose_names_resemble_a_norm_are_shared():
    tasks = [ClassificationTask(name, ["no", "yes"], "binary") for name in ("abnormality", "normal")]
    assert_patterns_name_its_norms(MTMedFormer(PlainViT(32, depth=1, heads=2), tasks, 16))


def test_patterns_name_the_norms_of_monais_blocks():
    from monai.networks.nets import BasicUNet, UNet

    for network in (UNet(2, 1, 1, (4, 8), (2,), norm="batch"), BasicUNet(2, features=(4, 4, 4, 4, 4, 4), norm="batch")):
        assert_patterns_name_its_norms(network)
