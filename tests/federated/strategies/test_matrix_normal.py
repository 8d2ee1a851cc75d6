import pytest
import torch

from mtmedformer_monai.federated.strategies.matrix_normal import merge, pack, shrink, unpack


def spd(size: int, seed: int) -> torch.Tensor:
    rows = torch.randn(2 * size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return rows.T @ rows


def test_shrinking_keeps_the_diagonal():
    gram = spd(4, 0)
    assert torch.equal(shrink(gram, 0.0), gram)
    torch.testing.assert_close(shrink(gram, 1.0), gram.diagonal().diag())
    torch.testing.assert_close(shrink(gram, 0.3).diagonal(), gram.diagonal())


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_triangle_holds_the_whole_matrix(size):
    packed = pack(spd(size, 1))
    assert packed.shape == (size * (size + 1) // 2,)
    torch.testing.assert_close(unpack(packed), spd(size, 1), rtol=0, atol=0)


def test_it_minimizes_the_weighted_squared_errors():
    """The gradient of `sum_k n_k tr((W - d_k) A_k (W - d_k)') + lam |W - dbar|^2` vanishes."""
    grams, counts = [spd(3, seed) for seed in range(3)], [2.0, 5.0, 1.0]
    changes = [torch.randn(2, 3, dtype=torch.float64) for _ in grams]
    whole = sum(n * a for n, a in zip(counts, grams, strict=True))
    mean = sum(n * d for n, d in zip(counts, changes, strict=True)) / sum(counts)
    gram_mean = sum(n * d @ a for n, d, a in zip(counts, changes, grams, strict=True))
    found = merge(whole, gram_mean, mean, ridge=0.2).requires_grad_()
    weight = 0.2 * whole.diagonal().mean()
    loss = sum(n * ((found - d) @ a @ (found - d).T).trace() for n, d, a in zip(counts, changes, grams, strict=True))
    (gradient,) = torch.autograd.grad(loss + weight * (found - mean).square().sum(), found)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-9)


def test_inputs_that_never_vary():
    """Only the first input occurs: without a ridge the second weight does not move, with it, it moves to the mean."""
    gram, change = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([[3.0, 5.0]])
    assert merge(gram, change @ gram, change, 0.0).tolist() == [[3.0, 0.0]]
    torch.testing.assert_close(merge(gram, change @ gram, change, 0.01), change.double())
