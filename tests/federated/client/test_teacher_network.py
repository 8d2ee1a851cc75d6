"""Several teachers, each for tasks of its own."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from monai.inferers import SimpleInferer

from mtmedformer_monai.federated.client.teacher_network import TeacherNetwork
from mtmedformer_monai.federated.teaching import EVERY_TASK, Teacher
from tests.networks.small import every_kind, small_network

IMAGE = torch.rand(2, 1, 64, 96, generator=torch.Generator().manual_seed(0))


def moved(network, amount):
    """The network with other weights."""
    other = copy.deepcopy(network)
    with torch.no_grad():
        for number, weight in enumerate(other.parameters()):
            weight.add_(amount * torch.rand(weight.shape, generator=torch.Generator().manual_seed(number)))
    return other


@pytest.fixture
def trained():
    return small_network(detail=True).train()


@torch.no_grad()
def expected_of(network):
    return copy.deepcopy(network).eval()(IMAGE)


def test_each_task_is_predicted_by_its_teacher(trained):
    one, other = moved(trained, 0.02), moved(trained, 0.05)
    teachers = {"mask": Teacher(one.state_dict()), EVERY_TASK: Teacher(other.state_dict())}
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    predicting = TeacherNetwork(SimpleNamespace(network=trained, inferer=SimpleInferer()), teachers, every_kind())
    for _ in range(2):
        found = predicting.outputs(IMAGE)
        assert set(found) == {task.name for task in every_kind()}
        for name, output in found.items():
            assert torch.equal(output, expected_of(one if name == "mask" else other)[name])
    assert trained.training
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())


def test_checks_are_those_of_the_tasks_own_teacher(trained):
    mean, earlier, other = moved(trained, 0.02), moved(trained, 0.03), moved(trained, 0.05)
    teachers = {
        "mask": Teacher(mean.state_dict(), previous=earlier.state_dict()),
        "binary": Teacher(other.state_dict()),
    }
    predicting = TeacherNetwork(SimpleNamespace(network=trained, inferer=SimpleInferer()), teachers, every_kind(), 0)
    for _ in range(2):  # the weights of the check do not stay loaded
        outputs, checks = predicting.predict(IMAGE)
        assert torch.equal(outputs["mask"], expected_of(mean)["mask"])
        assert any(torch.equal(check, expected_of(earlier)["mask"]) for check in checks["mask"])
        assert torch.equal(outputs["binary"], expected_of(other)["binary"])
        assert set(outputs) == {"mask", "binary"}
