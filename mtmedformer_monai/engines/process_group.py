"""Joins and leaves the process group such that its threads terminate before the interpreter exits."""

from __future__ import annotations

import importlib

import torch.distributed as dist
from torch.nn import Module
from torch.nn.parallel import DistributedDataParallel


def join_process_group(backend: str) -> None:
    """Joins the default process group described by the launcher, unless one is already initialized.

    `torch.distributed.nn` is imported first, because its functions store the current default group as the default value
    of an argument, which would keep the group's threads alive until the process exits. `DistributedDataParallel`
    imports it, too.

    Args:
        backend: "nccl" or "gloo".
    """
    importlib.import_module("torch.distributed.nn")
    if not dist.is_initialized():
        dist.init_process_group(backend=backend)


def leave_process_group(network: Module) -> None:
    """Leaves the default process group, if there is one, and waits for its threads to terminate.

    A gloo thread that still holds the tensors of the last collective when Python shuts down aborts the process
    ("terminate called without an active exception") although all work is done; on busy machines this happened in one of
    ten trainings. The threads terminate with the last reference to the group, so the network's references are removed.

    Args:
        network: a `DistributedDataParallel` network can only be used for inference afterwards; any other network is
            not changed.
    """
    if isinstance(network, DistributedDataParallel):
        for name in ("reducer", "logger", "process_group"):
            setattr(network, name, None)
    if dist.is_initialized():
        dist.destroy_process_group()
