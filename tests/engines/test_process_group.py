import subprocess
import sys

import pytest
import torch

from mtmedformer_monai.engines import leave_process_group

LEAVE = """
import os
from pathlib import Path
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from mtmedformer_monai.engines import join_process_group, leave_process_group


def gloo_threads():
    return sum("gloo_runloop" in Path(f"/proc/self/task/{t}/comm").read_text() for t in os.listdir("/proc/self/task"))


for _ in range(2):  # a second call keeps the group
    join_process_group("gloo")
network = DistributedDataParallel(torch.nn.Linear(2, 2))
network(torch.ones(1, 2)).sum().backward()
assert gloo_threads() > 0
before = network(torch.ones(1, 2)).detach()
leave_process_group(network)
assert gloo_threads() == 0, "the group's threads outlive it"
assert not dist.is_initialized()
with torch.no_grad():
    torch.testing.assert_close(network.module(torch.ones(1, 2)), before)
assert set(network.state_dict()) == {"module.weight", "module.bias"}
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")
def test_the_threads_end_with_the_group(monkeypatch):
    for name, value in {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 0}.items():
        monkeypatch.setenv(name, str(value))
    done = subprocess.run([sys.executable, "-c", LEAVE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_a_group_nothing_happens():
    network = torch.nn.Linear(2, 2)
    leave_process_group(network)
    assert network(torch.ones(1, 2)).shape == (1, 2)
