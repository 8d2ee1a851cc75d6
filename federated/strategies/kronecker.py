"""Kronecker-factored merging: each layer's weights are averaged with the Gram matrix of the client's inputs.

In directions in which one client's inputs vary and another's do not, the first client decides; the plain mean would
halve its change. This is the merge of RegMean (Jin et al., ICLR 2023, eq. 3), as a Gaussian product in sums: with
the broadcast weights ref, a client's trained weights m_k, its n_k images and the Gram matrix A_k of its inputs at m_k,

    W = ref + (sum_k n_k (m_k - ref) A_k + lam dbar) (S + lam I)^-1,  S = sum_k n_k A_k,

where dbar is the plain mean of m_k - ref. All terms are sums over clients. If every A_k is proportional to the identity
with one factor, W is the mean of federated averaging.

K-FAC's second factor, the Gram matrix B_k of a layer's output gradients, is left out: `sum_k A_k (x) B_k` is no
Kronecker product, so its solution needs every client's pair of factors instead of their sums.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mtmedformer_monai.federated.message import Message, TensorKind, Weights, key, pick
from mtmedformer_monai.federated.strategy import ClientRule, GramRequest, LocalTraining, ServerRule, Strategy
from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .fedavg import AveragingClient, weighted_terms
from .kronecker_server import KroneckerServer
from .layer_matrix import Layer
from .matrix_normal import pack, shrink


class KroneckerMerging(Strategy):
    """Merges linear layers and ungrouped convolutions by their inputs' Gram matrices; averages everything else.

    Args:
        max_inputs: layers with more inputs are averaged plainly. A matrix of D inputs adds D (D + 1) / 2 numbers to the
            message; `benchmarks/merging_cost.py` prints the sizes.
        max_images: number of training images, per client, behind each matrix.
        shrinkage: share r of the diagonal: `(1 - r) A + r diag(A)`.
        ridge: lam, in units of the mean diagonal element of S.
    """

    def __init__(
        self, max_inputs: int = 600, max_images: int = 64, shrinkage: float = 0.1, ridge: float = 0.01
    ) -> None:
        if max_inputs < 0 or max_images < 1:
            raise ValueError(f"max_inputs expects 0 or more, got {max_inputs}; max_images 1 or more, got {max_images}.")
        if not 0.0 <= shrinkage <= 1.0:
            raise ValueError(f"shrinkage expects a share from 0 to 1, got {shrinkage}.")
        if ridge < 0:
            raise ValueError(f"ridge expects 0 or more, got {ridge}.")
        self._request, self._shrinkage, self._ridge = GramRequest(max_inputs, max_images), shrinkage, ridge

    def client(self, groups: PermutationGroups | None = None) -> ClientRule:
        """Returns a client that sends its layers' changes and Gram matrices."""
        return KroneckerClient(self._request, self._shrinkage)

    def server(self, weights: Mapping[str, Tensor]) -> ServerRule:
        """Returns a server that solves one linear system per layer."""
        return KroneckerServer(weights, self._ridge)


class KroneckerClient(AveragingClient):
    """Trains from the broadcast weights without corrections; keeps no state between rounds.

    Args:
        request: which Gram matrices to compute.
        shrinkage: of the matrices.
    """

    sends_weights_alone = False  # Gram matrices of the images' features, too

    def __init__(self, request: GramRequest, shrinkage: float) -> None:
        self.needs_input_gram, self._shrinkage = request, shrinkage
        self._reference: Weights = {}

    def receive(self, broadcast: Mapping[str, Tensor]) -> Weights:
        """Returns the broadcast weights, the reference of the changes."""
        self._reference = {name: value.cpu().clone() for name, value in pick(broadcast, TensorKind.MEAN).items()}
        return pick(broadcast, TensorKind.MEAN)

    def send(self, training: LocalTraining) -> Message:
        """Returns `n A`, `n delta A`, `n delta` and n of layers with a Gram matrix; else `n w` and `n`.

        Layers with rows of classes that the client does not know have the latter, as these rows have no images.
        """
        message, trained = weighted_terms(training), {name: n for name, n in training.num_samples.items() if n > 0}
        for name in training.input_gram:
            layer = Layer.of(name, trained)
            if name in trained and self._fits(layer, training):
                for each in filter(None, (layer.weight, layer.bias)):
                    del message[key(TensorKind.PRECISION_MEAN, each)], message[key(TensorKind.PRECISION, each)]
                message |= self._terms(layer, training)
        return message

    def _fits(self, layer: Layer, training: LocalTraining) -> bool:
        """Returns whether all rows count, and have the matrix's inputs, which a bias that is not sent changes."""
        if layer.weight in training.unlearned or layer.bias in training.unlearned:
            return False
        return len(training.input_gram[layer.weight]) == layer.matrix(training.weights).shape[1]

    def _terms(self, layer: Layer, training: LocalTraining) -> Message:
        count = training.num_samples[layer.weight]
        gram = shrink(training.input_gram[layer.weight].double(), self._shrinkage)
        change = count * (layer.matrix(training.weights).double() - layer.matrix(self._reference))
        return {
            key(TensorKind.GRAM, layer.weight): (count * pack(gram)).float(),
            key(TensorKind.GRAM_MEAN, layer.weight): (change @ gram).float(),
            key(TensorKind.CHANGE, layer.weight): change.float(),
            key(TensorKind.COUNT, layer.weight): torch.tensor(float(count)),
        }
