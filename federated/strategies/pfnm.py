"""Probabilistic federated neural matching (PFNM: Yurochkin et al., ICML 2019) of the hidden units of MLPs.

The server matches the hidden units of all clients' networks (`beta_bernoulli.py`) and averages the matched units,
weighted by images. Groups of units named 'hidden' take part, which are the MLPs of the transformers here; everything
else is averaged plainly, from the common order of the broadcast or of alignment (docs/permutations.md).

Two differences from the paper follow from a network of fixed width. New global units are created only up to that
width: as every client has as many units, the largest client creates them all, and every other client's units are
matched one to one. And merged units are not shrunk towards the prior's mean, which would shrink them in every round.

Unlike all other strategies, the server has to see each client's weights: a matching cannot be computed from a sum.
Secure aggregation is therefore not possible, and the server's memory grows with the number of clients in a round.
"""

# H number of hidden units

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtmedformer_monai.federated.message import Message, TensorKind, key, pick, without
from mtmedformer_monai.federated.running_sum import RunningSum
from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining, ServerRule, Strategy
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .beta_bernoulli import UnitPrior, match_units
from .fedavg import AveragingClient, weighted_terms

HIDDEN = "hidden"
"""Last part of the labels of the groups to match."""

Slot = tuple[int, int]
"""Number of a group of hidden units, and the axis of a parameter that lists them."""


class PFNM(Strategy):
    """Averaging of networks whose hidden units the server matches; the server sees each client's weights."""

    sends_sums = False

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client that sends its weights, and which axes list hidden units.

        Raises:
            ValueError: the network declares no groups.
        """
        if groups is None:
            raise ValueError("pfnm expects a network that declares its permutation groups; see docs/permutations.md.")
        return PFNMClient(hidden_slots(groups))

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server that keeps the clients' messages until the round is closed."""
        return PFNMServer(weights)


def hidden_slots(groups: PermutationGroups) -> dict[str, Slot]:
    """Returns {parameter: number of its group of hidden units, axis}, with groups numbered in their order.

    Groups in blocks are left out, as are groups that a parameter lists beside another or along two axes.
    """
    labels = [label for label, group in groups.groups.items() if label.rpartition(".")[2] == HIDDEN]
    blocks = {group.within for group in groups.groups.values()}
    usable = {label for label in labels if not groups.groups[label].within and label not in blocks}
    for axes in groups.axes.values():
        listed = [label for axis in axes for label in axis if label in usable]
        if len(listed) > 1 or any(len(axis) > 1 for axis in axes if usable & set(axis)):
            usable -= set(listed)
    return {
        name: (labels.index(axis[0]), index)
        for name, axes in groups.axes.items()
        for index, axis in enumerate(axes)
        if axis and axis[0] in usable
    }


class PFNMClient(AveragingClient):
    """Trains without corrections; keeps no state between rounds.

    Args:
        slots: {parameter: number of its group of hidden units, axis}.
    """

    def __init__(self, slots: Mapping[str, Slot]) -> None:
        self._slots = dict(slots)

    def send(self, training: LocalTraining) -> Message:
        """Returns `n w` and `n`, and the axes that list hidden units."""
        message = weighted_terms(training)
        for name, slot in self._slots.items():
            if key(TensorKind.PRECISION, name) in message:
                message[key(TensorKind.UNITS, name)] = torch.tensor(slot)
        return message


class PFNMServer(ServerRule):
    """Matches hidden units and computes weighted means; weights that no client trained are unchanged bit for bit.

    Args:
        weights: initial weights.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = {name: value.detach().clone() for name, value in weights.items()}
        shapes = {name: value.shape for name, value in weights.items()}
        self._sum = RunningSum(shapes, kinds=(TensorKind.PRECISION_MEAN, TensorKind.PRECISION))
        self._messages: list[tuple[Message, dict[str, Slot]]] = []

    def add(self, message: Mapping[str, Tensor]) -> None:
        """Keeps the weights of one client until the round is closed."""
        units = pick(message, TensorKind.UNITS)
        terms = without(message, TensorKind.UNITS)
        self._sum.check(terms)
        _check_weighted(terms, units)
        slots = {name: self._slot(name, value) for name, value in units.items()}
        self._check_slots(slots, terms)
        if terms:
            self._messages.append(({name: _copied(value) for name, value in terms.items()}, slots))

    def close_round(self) -> None:
        """Matches the units and computes the means."""
        sent = sorted(self._messages, key=lambda pair: _rank(*pair))
        slots = _most_sent([pair for pair in sent if pair[1]])
        for group in sorted({number for number, _ in slots.values()}):
            axes = {name: axis for name, (number, axis) in slots.items() if number == group}
            fitting = [
                message for message, own in sent if not own or all(own.get(name) == slots[name] for name in axes)
            ]
            self._match(axes, fitting)
        for message, _ in sent:
            self._sum.add(message)
        self._weights = self._sum.weighted_means(self._weights)
        self._sum.clear()
        self._messages = []

    def broadcast(self) -> Message:
        """Returns the weights."""
        return {key(TensorKind.MEAN, name): value for name, value in self._weights.items()}

    def state_dict(self) -> dict[str, Any]:
        """Returns the weights, the messages of this round and their axes of hidden units."""
        messages = [dict(message) for message, _ in self._messages]
        slots = [{name: list(slot) for name, slot in own.items()} for _, own in self._messages]
        return {"weights": dict(self._weights), "messages": messages, "slots": slots}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""
        self._weights = dict(state["weights"])
        self._messages = [
            (dict(message), {name: (int(group), int(axis)) for name, (group, axis) in own.items()})
            for message, own in zip(state["messages"], state["slots"], strict=True)
        ]

    def _slot(self, name: str, value: Tensor) -> Slot:
        """Returns the group and the axis of a parameter.

        Raises:
            KeyError: a parameter that the federation does not have.
            ValueError: not a pair of whole numbers, or an axis that the parameter lacks.
        """
        if name not in self._weights:
            raise KeyError(f"the federation has no tensor {name!r}; the client uses another network or strategy.")
        axes = self._weights[name].ndim
        numbers = value.double().flatten().tolist()
        whole = value.shape == (2,) and all(number.is_integer() for number in numbers)
        if not whole or not (0 <= numbers[1] < axes and numbers[0] >= 0):
            raise ValueError(f"units of {name!r} expect a group and an axis below {axes}, got {value.tolist()}.")
        return int(numbers[0]), int(numbers[1])

    def _check_slots(self, slots: Mapping[str, Slot], terms: Message) -> None:
        """Raises a ValueError if axes of different lengths list the units of one group, or belong to no sent tensor."""
        sizes: dict[int, int] = {}
        for name, (group, axis) in slots.items():
            if key(TensorKind.PRECISION, name) not in terms:
                raise ValueError(f"units of {name!r} expect the tensor in the message, which lacks it.")
            size = self._weights[name].shape[axis]
            if sizes.setdefault(group, size) != size:
                raise ValueError(
                    f"units of {name!r} expect {sizes[group]} along the axis, as of group {group}, got {size}."
                )

    def _match(self, axes: Mapping[str, int], messages: Sequence[Message]) -> None:
        """Permutes one group of hidden units of all messages into a common order, in place.

        Messages that lack any of the group's tensors, or any of their images, are left as they are.
        """
        terms = [key(TensorKind.PRECISION, name) for name in axes]
        whole = [each for each in messages if all(term in each and bool((each[term] > 0).all()) for term in terms)]
        if len(whole) < 2:
            return
        features = [_features(message, axes) for message in whole]
        counts = [_images(message, next(iter(axes))) for message in whole]
        name, axis = next(iter(axes.items()))
        found = match_units(features, counts, max_units=self._weights[name].shape[axis], prior=UnitPrior())
        for message, slots in zip(whole, found, strict=True):
            order = torch.from_numpy(slots).argsort()  # each slot has one unit; those of the first client stay in place
            for name, axis in axes.items():
                term = key(TensorKind.PRECISION_MEAN, name)
                message[term] = message[term].index_select(axis, order)


def _copied(value: Tensor) -> Tensor:
    """Returns a copy on the CPU; types of 16 bits, some of which NumPy lacks, become float32."""
    is_half = value.is_floating_point() and value.element_size() < 4
    return value.detach().to("cpu", torch.float32 if is_half else value.dtype, copy=True)


def _most_sent(sent: Sequence[tuple[Message, Mapping[str, Slot]]]) -> dict[str, Slot]:
    """Returns {parameter: the slot that most of its senders state}, of equally many the first one, if they state any.

    A client that states a wrong axis thus neither decides how the others are matched, nor that they are not.
    """
    found = {}
    for name in {name: None for _, slots in sent for name in slots}:
        term = key(TensorKind.PRECISION, name)
        slot = Counter(slots.get(name) for message, slots in sent if term in message).most_common(1)[0][0]
        if slot is not None:
            found[name] = slot
    return found


def _check_weighted(terms: Message, units: Mapping[str, Tensor]) -> None:
    """Raises an error unless every tensor has a mean and weights, and those with hidden units weights above 0.

    In others, rows of classes that a client does not know have weight 0.
    """
    means, weights = pick(terms, TensorKind.PRECISION_MEAN), pick(terms, TensorKind.PRECISION)
    incomplete = sorted(set(means) ^ set(weights))
    if incomplete:
        raise KeyError(f"{incomplete[0]!r} expects precision_mean and precision, got one of them.")
    for name, value in weights.items():
        if name in units and bool((value <= 0).any()):
            raise ValueError(
                f"the precision of {name!r} expects numbers of images above 0, got {float(value.min()):g}."
            )


def _features(message: Message, axes: Mapping[str, int]) -> Any:
    """Returns the weights from and to each hidden unit, float64 (H, F)."""
    rows = []
    for name, axis in sorted(axes.items()):
        mean = message[key(TensorKind.PRECISION_MEAN, name)] / message[key(TensorKind.PRECISION, name)]
        rows.append(mean.double().movedim(axis, 0).flatten(1) if mean.ndim > 1 else mean.double()[:, None])
    return np.asarray(torch.cat(rows, dim=1).numpy())


def _images(message: Message, name: str) -> float:
    return float(message[key(TensorKind.PRECISION, name)].flatten()[0])


def _rank(message: Message, slots: Mapping[str, Slot]) -> tuple[float, bytes]:
    """Returns a key that sorts clients by their images, largest first, whatever the order of their arrival."""
    images = max(float(value.flatten()[0]) for value in pick(message, TensorKind.PRECISION).values())
    digest = hashlib.sha256(repr(sorted(slots.items())).encode())
    for name in sorted(message):
        digest.update(message[name].contiguous().numpy().tobytes())
    return -images, digest.digest()
