"""A process group that is joined and left so that its threads end before the interpreter does."""

from __future__ import annotations

import importlib

import torch.distributed as dist
from torch.nn import Module
from torch.nn.parallel import DistributedDataParallel


def join_process_group(backend: str) -> None:
    """Joins the default process group that the launcher describes, unless the process is in one already.

    `torch.distributed.nn` is imported first: its functions keep the default group of the moment as the default of an
    argument, and with it the group's threads for the life of the process. `DistributedDataParallel` imports it, too.

    Args:
        backend: "nccl" or "gloo".
    """
    importlib.import_module("torch.distributed.nn")
    if not dist.is_initialized():
        dist.init_process_group(backend=backend)


def leave_process_group(network: Module) -> None:
    """Leaves the default process group, if there is one, and waits for its threads to end.

    A gloo thread that still holds the tensors of the last collective when Python shuts down takes the whole process
    with it ("terminate called without an active exception"), though all work is done; on busy machines that happens in
    one training out of ten. The threads end with the last reference to the group, so the network's go, too.

    Args:
        network: `DistributedDataParallel`, which can't be trained any further (it predicts, and its weights can be
            read), or any other, which is left as it is.
    """
    if isinstance(network, DistributedDataParallel):
        for name in ("reducer", "logger", "process_group"):
            setattr(network, name, None)
    if dist.is_initialized():
        dist.destroy_process_group()
