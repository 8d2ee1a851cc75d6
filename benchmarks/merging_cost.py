"""Measures what a round of each merging strategy costs, in bytes and in CPU seconds.

    OMP_NUM_THREADS=1 python benchmarks/merging_cost.py --sizes tiny small

Prints a Markdown table for the transformer with the tasks of the chest bundle, with one row per size and strategy:
megabytes of a client's message, and their ratio to the first method's; CPU seconds of the client after training
(Gram matrices, alignment); CPU seconds of the server for all clients of a round. The clients' networks are the
broadcast weights with noise of one twentieth of each tensor's standard deviation; with `--permuted`, with all units
permuted as well (only `matching` and `pfnm` undo that, `pfnm` for hidden units). Images are random, so no score is
measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from command_line import add_threads_option, make_parser, prepare_process
from network_cost import chest_tasks
from torch import Tensor, nn

from mtmedformer_monai.federated.alignment.permutation import permute, random_permutation
from mtmedformer_monai.federated.client.input_gram import InputGram, gram_layers
from mtmedformer_monai.federated.strategies import make_strategy
from mtmedformer_monai.federated.strategy import GramRequest, LocalTraining
from mtmedformer_monai.federated.wire import num_bytes
from mtmedformer_monai.layers.group_declaration import permutation_groups
from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "fedavg": ("fedavg", {}),
    "fedavg, packed": ("fedavg", {"compress": "float32"}),
    "matching": ("matching", {}),
    "pfnm": ("pfnm", {}),
    "kronecker, 300 inputs": ("kronecker", {"max_inputs": 300}),
    "kronecker, 600 inputs": ("kronecker", {}),
    "kronecker, 1200 inputs": ("kronecker", {"max_inputs": 1200}),
}
NOISE = 0.05
ALL = "all"


@dataclass
class Cost:
    """Costs of one method: bytes of a message, and lists of CPU seconds."""

    num_bytes: int = 0
    client: list[float] = field(default_factory=list)
    server: float = 0.0


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    return call(), time.process_time() - start


@torch.no_grad()
def gram_of(network: nn.Module, request: GramRequest, image_size: int) -> dict[str, Tensor]:
    layers = gram_layers(network, request.max_inputs)
    grams = InputGram(layers, request, {name: frozenset([ALL]) for name in layers})
    for _ in range(request.max_images // 8):
        images = torch.rand(8, 1, image_size, image_size)
        grams.observe(lambda images=images: network(images), {ALL: torch.ones(8, dtype=torch.bool)})
    return grams.matrices()


def measure(method: str, network: MTMedFormer, clients: int, image_size: int, permuted: bool) -> Cost:
    """Returns the costs of one round."""
    name, settings = METHODS[method]
    torch.manual_seed(0)
    strategy, groups = make_strategy(name, **settings), permutation_groups(network)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    server, cost = strategy.server(state), Cost()
    for index in range(clients):
        trained = {
            name: value + NOISE * value.std(correction=0) * torch.randn(value.shape) for name, value in state.items()
        }
        if permuted:
            trained = permute(trained, groups, random_permutation(groups))
        network.load_state_dict(trained)
        rule = strategy.client(groups)
        rule.receive(server.broadcast())
        request = rule.needs_input_gram
        grams, passed = timed(lambda: gram_of(network, request, image_size) if request else {})  # noqa: B023 called here
        training = LocalTraining(trained, dict.fromkeys(trained, 10 + index), input_gram=grams)
        message, packed = timed(lambda: rule.send(training))  # noqa: B023 called here
        cost.num_bytes = num_bytes(message)
        cost.client.append(passed + packed)
        cost.server += timed(lambda: server.add(message))[1]  # noqa: B023 called here
    cost.server += timed(server.close_round)[1]
    network.load_state_dict(state)
    return cost


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--sizes", nargs="+", default=["tiny", "small"], help="sizes of the encoder")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), help="default: all")
    parser.add_argument("--clients", type=int, default=3, help="clients per round (default %(default)s)")
    parser.add_argument("--image-size", type=int, default=128, help="pixels of an image's side (default %(default)s)")
    parser.add_argument("--permuted", action="store_true", help="permute the units of all clients")
    add_threads_option(parser)
    arguments = parser.parse_args()
    prepare_process(arguments.threads)
    print("| network | strategy | MB sent | ratio | client, s | server, s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for size in arguments.sizes:
        torch.manual_seed(0)
        network, plain = MTMedFormer(HierarchicalTransformer(size), chest_tasks()).eval(), 0
        for method in arguments.methods:
            cost = measure(method, network, arguments.clients, arguments.image_size, arguments.permuted)
            plain = plain or cost.num_bytes  # the first method's, federated averaging by default
            client = sum(cost.client) / len(cost.client)
            print(
                f"| {size} | {method} | {cost.num_bytes / 1e6:.1f} | {cost.num_bytes / plain:.2f} | {client:.2f} | "
                f"{cost.server:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
