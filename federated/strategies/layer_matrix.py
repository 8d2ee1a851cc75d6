"""A layer's weight and bias as one matrix."""

# O outputs of a layer, D inputs, with 1 for the bias, C channels

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mtmedformer_monai.federated.message import Weights


@dataclass(frozen=True)
class Layer:
    """The tensors of a layer, as one matrix.

    Attributes:
        weight: name of its weight, (O, D) or (O, C, rows, columns).
        bias: name of its bias, (O,); '' if it has none.
    """

    weight: str
    bias: str

    @staticmethod
    def of(weight: str, names: Container[str]) -> Layer:
        """Returns the layer of a weight; its bias is the tensor of that name beside it, if `names` has one."""
        parent, dot, _ = weight.rpartition(".")
        bias = f"{parent}{dot}bias"
        return Layer(weight, bias if bias in names else "")

    def matrix(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Returns the weights and the bias as its last column, (O, D)."""
        flat = tensors[self.weight].flatten(1)
        return torch.cat([flat, tensors[self.bias].to(flat.dtype)[:, None]], dim=1) if self.bias else flat

    def tensors(self, matrix: Tensor, like: Mapping[str, Tensor]) -> Weights:
        """Returns the weight and the bias of a matrix, in the shapes and types of others."""
        weight = matrix[:, :-1] if self.bias else matrix
        found = {self.weight: weight.reshape(like[self.weight].shape).to(like[self.weight].dtype)}
        return {**found, self.bias: matrix[:, -1].to(like[self.bias].dtype)} if self.bias else found
