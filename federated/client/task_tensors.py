"""Which tasks each tensor of a multi-task network serves, by name or by the computation graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


def tasks_of_tensors(network: nn.Module, tasks: Sequence[str]) -> dict[str, frozenset[str]]:
    """Returns {parameter or buffer: tasks that it serves}.

    An entry of a ModuleDict under a task's name serves only that task.

    Example:
        >>> network = nn.ModuleDict({"encoder": nn.Linear(1, 1, bias=False)})
        >>> network["decoders"] = nn.ModuleDict({"lung": nn.Linear(1, 1, bias=False)})
        >>> {name: sorted(each) for name, each in tasks_of_tensors(network, ["lung", "opacity"]).items()}
        {'encoder.weight': ['lung', 'opacity'], 'decoders.lung.weight': ['lung']}
    """
    prefixes: dict[str, str] = {}
    for path, module in network.named_modules():
        if isinstance(module, nn.ModuleDict):
            prefixes |= {f"{path}.{name}." if path else f"{name}.": name for name in module if name in tasks}
    every = frozenset(tasks)
    return {
        name: next((frozenset([task]) for prefix, task in prefixes.items() if name.startswith(prefix)), every)
        for name in network.state_dict()
    }


def tasks_reached(network: nn.Module, image: Tensor, tasks: Sequence[str]) -> dict[str, frozenset[str]]:
    """Returns {parameter or buffer: tasks whose output depends on it in the computation graph of one image}.

    For example, a task uses only some levels of a shared pyramid. A buffer serves the tasks of its module's parameters,
    or all tasks if there are none.

    Args:
        network: returns {task: output}. It does not change.
        image: (1, ...), any.
        tasks: names.
    """
    was_training = network.training
    network.eval()
    parameters = {name: each for name, each in network.named_parameters() if each.requires_grad}
    with torch.enable_grad():
        outputs = network(image)
    reached: dict[str, set[str]] = {name: set() for name, _ in network.named_parameters()}
    for task in tasks:
        total = outputs[task].sum()
        found = torch.autograd.grad(total, list(parameters.values()), retain_graph=True, allow_unused=True)
        for name, gradient in zip(parameters, found, strict=True):
            if gradient is not None:
                reached[name].add(task)
    network.train(was_training)
    of_buffers = {name: _beside(name, reached, tasks) for name in network.state_dict() if name not in reached}
    return {name: frozenset(found) for name, found in {**reached, **of_buffers}.items()}


def _beside(buffer: str, reached: Mapping[str, set[str]], tasks: Sequence[str]) -> set[str]:
    """Returns the tasks of the parameters in a buffer's module."""
    module = buffer.rpartition(".")[0]
    beside = [found for name, found in reached.items() if name.rpartition(".")[0] == module]
    return set().union(*beside) if beside else set(tasks)
