"""Equations of matrix-normal merging: each layer's weights W (O, D) as a Gaussian with precision A in every row.

A is the Gram matrix of the layer's inputs. Products of such Gaussians are sums of natural parameters, `n A` and
`n W A`; the mean solves a linear system with one matrix for all rows (RegMean: Jin et al., ICLR 2023, eq. 3). This is
K-FAC's approximation of the posterior (Martens and Grosse, ICML 2015; Ritter et al., ICLR 2018) without its second
factor, that of the gradients of the outputs.
"""

# O outputs of a layer, D inputs, with 1 for the bias

from __future__ import annotations

import math

import torch
from torch import Tensor


def shrink(gram: Tensor, share: float) -> Tensor:
    """Returns `(1 - share) A + share diag(A)`: off-diagonal elements, estimated from few images, are reduced.

    Example:
        >>> shrink(torch.tensor([[2.0, 1.0], [1.0, 4.0]]), 0.1)
        tensor([[2.0000, 0.9000],
                [0.9000, 4.0000]])
    """
    return (1.0 - share) * gram + share * gram.diagonal().diag()


def pack(gram: Tensor) -> Tensor:
    """Returns the upper triangle of a symmetric matrix (D, D) row by row, as (D (D + 1) / 2,)."""
    rows, columns = torch.triu_indices(*gram.shape)
    return gram[rows, columns]


def unpack(triangle: Tensor) -> Tensor:
    """Returns the symmetric matrix of an upper triangle.

    Example:
        >>> unpack(torch.tensor([1.0, 2.0, 3.0]))
        tensor([[1., 2.],
                [2., 3.]])
    """
    size = (math.isqrt(8 * triangle.numel() + 1) - 1) // 2
    rows, columns = torch.triu_indices(size, size)
    gram = triangle.new_zeros(size, size)
    gram[rows, columns] = triangle
    gram[columns, rows] = triangle
    return gram


def diagonal_of(triangle: Tensor) -> Tensor:
    """Returns the diagonal of the symmetric matrix of an upper triangle.

    Example:
        >>> diagonal_of(torch.tensor([1.0, 2.0, 3.0]))
        tensor([1., 3.])
    """
    size = (math.isqrt(8 * triangle.numel() + 1) - 1) // 2
    rows = torch.arange(size)
    return triangle[rows * size - rows * (rows - 1) // 2]


def merge(gram: Tensor, gram_mean: Tensor, mean: Tensor, ridge: float) -> Tensor:
    """Returns the merged change of the weights: `(sum n delta A + lam mean) (S + lam I)^-1`, float64 (O, D).

    The ridge term pulls towards the plain mean of the changes, in directions that no client's inputs determine.

    Args:
        gram: S, the sum of `n A`, (D, D).
        gram_mean: sum of `n delta A`, with each client's change delta of the weights, (O, D).
        mean: plain mean of delta, weighted by images, (O, D).
        ridge: lam in units of the mean diagonal element of S. If it is 0 and S is singular, the change with the
            smallest norm is returned.

    Example:
        >>> one = torch.ones(1, 1)
        >>> merge(4.0 * one, 8.0 * one, one, 0.0)  # one input: a mean weighted by n A
        tensor([[2.]], dtype=torch.float64)
    """
    gram, gram_mean, mean = gram.double(), gram_mean.double(), mean.double()
    weight = ridge * gram.diagonal().mean()
    regular = gram + weight * torch.eye(len(gram), dtype=torch.float64)
    right = gram_mean + weight * mean
    factor, info = torch.linalg.cholesky_ex(regular)
    if int(info) == 0:
        return torch.cholesky_solve(right.T, factor).T
    return right @ torch.linalg.pinv(regular, hermitian=True)
