"""Measures what a round costs the server: seconds, memory and bytes, by number of sites and of parameters.

    OMP_NUM_THREADS=1 python benchmarks/federation_scale.py --sites 10 50 200 --parameters 4 30 90

Prints a Markdown table with one row per size, number of sites and method. Messages are those of the transformer with
the tasks of the chest bundle, of random numbers, generated one at a time; all sites have the same tasks. Every site's
weights go to all methods in turn, so that load on the machine affects all alike: `FLARE` is the aggregation helper of
NVIDIA FLARE's own FedAvg (`WeightedAggregationHelper`), left out if FLARE is not installed.

- server, s: seconds of the server for one round, from decoded messages to the next global weights, in the last of
  `--rounds` rounds; generation of messages excluded, and garbage collection of what existed before. CPU seconds with
  one thread, elapsed seconds with several. ratio: to FLARE's.
- state, MB: tensors that the server keeps between messages, once each. peak, models: memory of the process at its peak,
  less what it held before the first round with one message at hand and less this state, in models of float32; a message
  itself is one more. Each method is measured in a process of its own.
- sent, received: bytes per site and round as FLARE transmits them, from and to the site, divided by four bytes per
  parameter, which FLARE's FedAvg sends each way.
"""

from __future__ import annotations

import gc
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

import torch
from command_line import add_threads_option, make_parser, prepare_process
from network_cost import chest_tasks
from torch import Tensor

from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.exchange import IMAGES_BY_TASK, ROUND, to_exchange
from mtmedformer_monai.federated.message import Message, TensorKind, key
from mtmedformer_monai.federated.pvi.messages import group_tags
from mtmedformer_monai.federated.pvi.variance_components import moments
from mtmedformer_monai.federated.strategies import make_strategy
from mtmedformer_monai.federated.strategies.averaged import is_averaged
from mtmedformer_monai.federated.wire import Wire, num_bytes, with_repeats, without_repeats
from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer
from mtmedformer_monai.networks.hierarchical_transformer import TransformerSize

SIZES: dict[int, str | TransformerSize] = {
    4: "tiny",
    30: TransformerSize(widths=(64, 128, 320, 512), depths=(3, 4, 9, 3)),
    90: TransformerSize(widths=(96, 192, 480, 768), depths=(3, 4, 16, 3)),
}
"""Encoders by the millions of parameters of the whole network."""

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "fedavg": ("fedavg", {}),
    "bayesian": ("bayesian", {}),
    "bayesian, float16": ("bayesian", {"compress": "float16"}),
}
FLARE = "FLARE"
TASKS = {"lung": 5, "finding": 5}


class Server(Protocol):
    """What is measured."""

    def add(self, weights: Mapping[str, Tensor], images: int, number: int) -> float:
        """Adds the weights of a site, and returns the seconds that this took the server."""

    def close(self) -> float:
        """Closes the round, and returns the seconds that this took."""


@dataclass(frozen=True)
class Bytes:
    """Bytes of a message in both directions."""

    sent: int
    received: int


class OurServer:
    """An aggregator, and the messages of its strategy's clients.

    Args:
        method: of `METHODS`.
        start: initial weights.
    """

    def __init__(self, method: str, start: Mapping[str, Tensor]) -> None:
        self._name, settings = METHODS[method]
        self._half = settings.get("compress") == "float16"
        self._encoded = "compress" in settings
        self._start, self._round = start, 0
        strategy = make_strategy(self._name, **settings)
        self._image_precision = strategy.image_precision or 1.0
        self.aggregator = Aggregator(strategy, start)
        self.bytes = Bytes(0, 0)

    def add(self, weights: Mapping[str, Tensor], images: int, number: int) -> float:
        """Sends the weights as the strategy's clients do, and adds them."""
        message = self._message(weights, images)
        packet = Wire(self._half).encode(message) if self._encoded else message
        sent, shapes = without_repeats(packet)
        if number == 0:
            received = num_bytes(without_repeats(self.aggregator.broadcast().weights)[0])
            self.bytes = Bytes(num_bytes(sent), received)
        del message, packet
        began = _now()
        exchange = to_exchange(with_repeats(sent, shapes), {ROUND: self._round, IMAGES_BY_TASK: TASKS})
        self.aggregator.add(exchange, f"site_{number}")
        return _now() - began

    def close(self) -> float:
        """Closes the round."""
        began = _now()
        self.aggregator.close_round()
        self._round += 1
        return _now() - began

    def _message(self, weights: Mapping[str, Tensor], images: int) -> Message:
        """Returns the terms of a site: of an average, or the first or a later change of a factor."""
        bayesian = self._name == "bayesian"
        scale = images * self._image_precision
        message: Message = group_tags(TASKS) if bayesian else {}
        for name, value in weights.items():
            counted = is_averaged(name, value)
            weight = float(images) if counted else scale
            later = bayesian and self._round > 0
            message[key(TensorKind.PRECISION_MEAN, name)] = value.float() * (weight * (0.01 if later else 1.0))
            message[key(TensorKind.PRECISION, name)] = torch.full(value.shape, 0.0 if later else weight)
            if bayesian and not counted:
                message[key(TensorKind.MOMENTS, name)] = moments(weight, weight, 1e-6, 1e-4, 0.5)
        return message


class FlareServer:
    """The aggregation of FLARE's FedAvg.

    Args:
        start: initial weights.
    """

    def __init__(self, start: Mapping[str, Tensor]) -> None:
        from nvflare.app_common.aggregators.weighted_aggregation_helper import WeightedAggregationHelper

        self._helper, self.weights = WeightedAggregationHelper(), dict(start)

    def add(self, weights: Mapping[str, Tensor], images: int, number: int) -> float:
        """Adds the weights."""
        began = _now()
        self._helper.add(weights, float(images), f"site_{number}", 0)
        return _now() - began

    def close(self) -> float:
        """Computes the mean, as FLARE's controller does, which makes a new helper in each round."""
        began = _now()
        self.weights = self._helper.get_result()
        return _now() - began


def start_of(size: int) -> dict[str, Tensor]:
    """Returns weights of a network of a size, of random numbers."""
    with torch.device("meta"):
        layout = MTMedFormer(HierarchicalTransformer(SIZES[size]), chest_tasks()).state_dict()
    generator = torch.Generator().manual_seed(0)
    return {
        name: 0.05 * torch.randn(value.shape, generator=generator)
        if value.is_floating_point()
        else torch.zeros(value.shape, dtype=value.dtype)
        for name, value in layout.items()
    }


def weights_of_sites(start: Mapping[str, Tensor], count: int) -> Iterator[tuple[dict[str, Tensor], int]]:
    """Yields the weights of each site and its number of images."""
    for number in range(count):
        yield (
            {
                name: value * (1.0 + 0.01 * number) if value.is_floating_point() else value.float()
                for name, value in start.items()
            },
            5 + number % 7,
        )


def make(method: str, start: Mapping[str, Tensor]) -> Any:
    return FlareServer(start) if method == FLARE else OurServer(method, start)


def seconds_of_round(size: int, sites: int, methods: list[str], rounds: int) -> dict[str, float]:
    """Returns {method: seconds of the server in the last round}; the methods take turns."""
    start = start_of(size)
    servers: dict[str, Server] = {method: make(method, start) for method in methods}
    gc.collect()
    gc.freeze()  # a search for garbage among all imported modules takes half a second of whichever method it falls to
    found: dict[str, float] = {}
    for _ in range(rounds):
        found = dict.fromkeys(methods, 0.0)
        for number, (weights, images) in enumerate(weights_of_sites(start, sites)):
            for method in methods[number % len(methods) :] + methods[: number % len(methods)]:
                found[method] += servers[method].add(weights, images, number)
        for method in methods:
            found[method] += servers[method].close()
    return found


@dataclass(frozen=True)
class Memory:
    """Bytes that the server keeps, and that it needs beside this at its peak; of a message in both directions."""

    state: int
    beside: int
    message: Bytes


def memory_of(size: int, sites: int, method: str, rounds: int) -> Memory:
    """Returns the memory of a method."""
    start = start_of(size)
    for weights, _ in weights_of_sites(start, 1):  # the peak before the server exists, with a message at hand
        _ = {name: value * 2.0 for name, value in weights.items()}
    server, before = make(method, start), _peak()
    for _ in range(rounds):
        for number, (weights, images) in enumerate(weights_of_sites(start, sites)):
            server.add(weights, images, number)
        server.close()
    peak = _peak() - before
    own = list(_tensors(server.aggregator.state_dict())) if method != FLARE else list(server.weights.values())
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in own}
    return Memory(sum(storages.values()), peak - sum(storages.values()), getattr(server, "bytes", Bytes(0, 0)))


def _now() -> float:
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Returns the result of a function that runs in a new process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(theirs, function, arguments, torch.get_num_threads()))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join()


def _run(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...], threads: int) -> None:
    prepare_process(threads)
    pipe.send(function(*arguments))


def flare_is_installed() -> bool:
    try:
        import nvflare  # noqa: F401 only whether it is there
    except ImportError:
        print("NVIDIA FLARE is not installed: its column is left out (pip install 'mtmedformer-monai[flare]').\n")
        return False
    return True


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--sites", nargs="+", type=int, default=[10, 50, 200], help="numbers of sites")
    parser.add_argument("--parameters", nargs="+", type=int, default=list(SIZES), choices=list(SIZES), help="millions")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), help="default: all")
    parser.add_argument("--rounds", type=int, default=2, help="rounds, of which the last counts (default %(default)s)")
    add_threads_option(parser)
    arguments = parser.parse_args()
    prepare_process(arguments.threads)
    methods = [FLARE, *arguments.methods] if flare_is_installed() else list(arguments.methods)
    print("| parameters | sites | method | server, s | ratio | state, MB | peak, models | sent | received |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for size in arguments.parameters:
        model = 4 * sum(value.numel() for value in start_of(size).values())
        for sites in arguments.sites:
            seconds = in_process(seconds_of_round, size, sites, methods, arguments.rounds)
            for method in methods:
                memory = in_process(memory_of, size, sites, method, arguments.rounds)
                ratio = f"{seconds[method] / seconds[FLARE]:.2f}" if FLARE in seconds else "-"
                sent, received = (
                    each / model if each else 1.0 for each in (memory.message.sent, memory.message.received)
                )
                print(
                    f"| {model / 4e6:.1f} M | {sites} | {method} | {seconds[method]:.2f} | {ratio} | "
                    f"{memory.state / 1e6:.0f} | {memory.beside / model:.1f} | {sent:.2f} | {received:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
