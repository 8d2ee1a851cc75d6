import pytest
import torch
from torch import nn

from mtmedformer_monai.federated.strategies.averaged import is_averaged
from tests.federated.shipped_networks import make


def test_batch_norms_buffers_are_averaged_and_its_parameters_are_not():
    norm = nn.BatchNorm2d(2)
    averaged = {name for name, value in norm.state_dict().items() if is_averaged(name, value)}
    assert averaged == {name for name, _ in norm.named_buffers()}


@pytest.mark.parametrize("name", ["transformer", "swin", "resnet10"])
def test_no_parameter_that_we_ship_is_taken_for_a_statistic(name):
    network = make(name)
    assert not [each for each, value in network.named_parameters() if is_averaged(each, value)]
    assert all(is_averaged(each, value) for each, value in network.named_buffers())


def test_integers_are_averaged():
    assert is_averaged("weight", torch.tensor([1]))
