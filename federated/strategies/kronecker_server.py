"""The server of Kronecker-factored merging (`kronecker.py`): sums of the clients' terms, and one solution per layer."""

# O outputs of a layer, D inputs, with 1 for the bias

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from mtmedformer_monai.federated.message import Message, TensorKind, key
from mtmedformer_monai.federated.running_sum import RunningSum
from mtmedformer_monai.federated.strategy import ServerRule
from mtmedformer_monai.federated.tensor_sums import LARGEST

from .layer_matrix import Layer
from .matrix_normal import diagonal_of, merge, unpack

GRAM_KINDS: Final = (TensorKind.GRAM, TensorKind.GRAM_MEAN, TensorKind.CHANGE, TensorKind.COUNT)
"""Kinds of a layer's terms, in the order of `LayerSums`."""


class LayerSums(NamedTuple):
    """Sums over the clients that sent a layer: `n A` (D, D), `n delta A` and `n delta` (O, D), and n."""

    gram: Tensor
    gram_mean: Tensor
    change: Tensor
    images: Tensor


class KroneckerServer(ServerRule):
    """Solves a linear system per layer; weights that no client trained are unchanged bit for bit.

    Args:
        weights: initial weights.
        ridge: of the linear systems.
    """

    def __init__(self, weights: Mapping[str, Tensor], ridge: float) -> None:
        self._weights, self._ridge = {name: value.detach().clone() for name, value in weights.items()}, ridge
        shapes = {name: value.shape for name, value in weights.items()}
        self._plain = RunningSum(shapes, kinds=(TensorKind.PRECISION_MEAN, TensorKind.PRECISION))
        self._layers = RunningSum.of_shapes(_shapes_of_layers(weights))

    def add(self, message: Mapping[str, Tensor]) -> None:
        """Adds the terms of one client."""
        layers = {name: value for name, value in message.items() if name.partition("/")[0] in GRAM_KINDS}
        self._layers.check(layers)
        _check_complete(layers)
        self._plain.add({name: value for name, value in message.items() if name not in layers})
        self._layers.add(layers)

    def close_round(self) -> None:
        """Computes the means and solves the layers' systems."""
        merged = self._plain.weighted_means(self._weights)
        for weight in sorted(self._layers.names()):
            layer = Layer.of(weight, self._weights)
            matrix = layer.matrix(self._weights).double() + self._change(layer)
            merged |= layer.tensors(matrix, self._weights)
        self._weights = merged
        self._plain.clear()
        self._layers.clear()

    def broadcast(self) -> Message:
        """Returns the weights."""
        return {key(TensorKind.MEAN, name): value for name, value in self._weights.items()}

    def state_dict(self) -> dict[str, Any]:
        """Returns the weights and the messages added in this round."""
        plain, layers = dict(self._plain.total), dict(self._layers.total)
        return {"weights": dict(self._weights), "plain": plain, "layers": layers}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state."""
        self._weights = dict(state["weights"])
        self._plain.total, self._layers.total = dict(state["plain"]), dict(state["layers"])

    def _change(self, layer: Layer) -> Tensor:
        """Returns the merged change of a layer, float64 (O, D)."""
        sums = self._with_plain(layer, LayerSums(*(self._layers.total[key(kind, layer.weight)] for kind in GRAM_KINDS)))
        return merge(sums.gram, sums.gram_mean, sums.change / sums.images, self._ridge)

    def _with_plain(self, layer: Layer, sums: LayerSums) -> LayerSums:
        """Adds clients without a Gram matrix, such as stock clients, as if theirs were the mean of the others.

        Their numbers of images may differ between rows; instead of a Gram matrix for each row, the row's other sums are
        divided by the factor by which its matrix and number of images would grow.
        """
        sums = sums._replace(gram=unpack(sums.gram))
        precision, precision_mean = (
            {name: self._plain.total.get(key(kind, name)) for name in (layer.weight, layer.bias) if name}
            for kind in (TensorKind.PRECISION, TensorKind.PRECISION_MEAN)
        )
        counts = [_rows(value, self._weights[name]) for name, value in precision.items() if value is not None]
        if not counts:
            return sums
        change = layer.matrix(
            {name: _change_of(self._weights[name], precision_mean[name], value) for name, value in precision.items()}
        )
        mean, grown = sums.gram / sums.images, 1.0 + torch.stack(counts).amax(dim=0)[:, None] / sums.images
        return sums._replace(gram_mean=(sums.gram_mean + change @ mean) / grown, change=(sums.change + change) / grown)


def _rows(precision: Tensor, like: Tensor) -> Tensor:
    """Returns the mean number of images of each row (O,) of a tensor."""
    return precision.double().expand(like.shape).reshape(len(like), -1).mean(dim=1)


def _change_of(reference: Tensor, precision_mean: Tensor | None, precision: Tensor | None) -> Tensor:
    """Returns `sum n w - n ref`, float64; 0 for a tensor that no client sent plainly."""
    if precision_mean is None or precision is None:
        return torch.zeros_like(reference, dtype=torch.float64)
    return precision_mean - precision * reference.double()


def _shapes_of_layers(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """Returns {`kind/weight`: shape} of the terms of all tensors that could be a layer's weight."""
    shapes: dict[str, torch.Size] = {}
    for name, value in weights.items():
        layer = Layer.of(name, weights)
        fits = not layer.bias or weights[layer.bias].shape == value.shape[:1]  # false for transposed convolutions
        if value.ndim in (2, 4) and name.rpartition(".")[2] == "weight" and fits:
            outputs, inputs = layer.matrix(weights).shape
            shapes[key(TensorKind.GRAM, name)] = torch.Size([inputs * (inputs + 1) // 2])
            shapes[key(TensorKind.GRAM_MEAN, name)] = torch.Size([outputs, inputs])
            shapes[key(TensorKind.CHANGE, name)] = torch.Size([outputs, inputs])
            shapes[key(TensorKind.COUNT, name)] = torch.Size()
    return shapes


def _check_complete(layers: Mapping[str, Tensor]) -> None:
    """Raises an error if a layer has some of its terms, or no image, or a system without a finite solution."""
    for name in {each.partition("/")[2] for each in layers}:
        missing = [kind for kind in GRAM_KINDS if key(kind, name) not in layers]
        if missing:
            raise KeyError(f"layer {name!r} expects {', '.join(GRAM_KINDS)}, got no {missing[0]}.")
        count = float(layers[key(TensorKind.COUNT, name)])
        if count < 1.0:
            raise ValueError(f"layer {name!r} expects a count of 1 image or more, got {count}.")
        diagonal = diagonal_of(layers[key(TensorKind.GRAM, name)]).double()
        change = float(layers[key(TensorKind.GRAM_MEAN, name)].double().abs().max())
        if bool((diagonal < 0.0).any()) or change > LARGEST * float(diagonal.mean()):
            raise ValueError(
                f"layer {name!r} expects a Gram matrix, whose diagonal is 0 or more, and a change times it, got a mean "
                f"diagonal of {float(diagonal.mean()):.3g} and {change:.3g}; the client's training diverged."
            )
