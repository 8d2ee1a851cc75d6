from __future__ import annotations

import json

import pytest
import torch
from monai.bundle import ConfigParser

from mtmedformer_monai.federated.client.task_tensors import tasks_of_tensors, tasks_reached
from mtmedformer_monai.tasks import DetectionTask, SegmentationTask
from tests.bundles.conftest import BUNDLES
from tests.federated.tiny_client import TwoDecoders


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_tensors_of_a_bundle_serve_the_tasks_that_use_them(bundle):
    parser = ConfigParser(json.loads((bundle / "configs/train.json").read_text()))
    network, tasks = parser.get_parsed_content("network_def").train(), parser.get_parsed_content("tasks")
    names = {task.name for task in tasks}
    tasks_of = tasks_reached(network, torch.rand(1, 1, 64, 64), sorted(names))
    by_name = tasks_of_tensors(network, sorted(names))
    assert set(tasks_of) == set(by_name) == set(network.state_dict())
    assert network.training
    finest = {task.name for task in tasks if isinstance(task, SegmentationTask)}
    finest |= {task.name for task in tasks if isinstance(task, DetectionTask) and 0 in task.levels}
    for name, found in tasks_of.items():
        assert found <= by_name[name], name
        if name.startswith("encoder."):
            assert found == names, name
        elif name.startswith("decoders."):
            assert found == {name.split(".")[1]}, name
        elif name.startswith(("pyramids.shared.laterals.0.", "pyramids.shared.smooths.0.")):
            assert found == finest, "classes, and boxes of the chest bundle, look at coarser levels"


def test_a_buffer_serves_what_its_module_serves():
    tasks_of = tasks_reached(TwoDecoders(), torch.zeros(1, 3), ["left", "right"])
    assert tasks_of["decoders.left.0.running_mean"] == {"left"}
    assert tasks_of["norm.running_mean"] == {"left", "right"}


def test_a_frozen_parameter_serves_no_task():
    network = TwoDecoders()
    network.encoder.weight.requires_grad_(False)
    tasks_of = tasks_reached(network, torch.zeros(1, 3), ["left", "right"])
    assert tasks_of["encoder.weight"] == frozenset()
    assert tasks_of["encoder.bias"] == {"left", "right"}
