import itertools

import numpy as np
import pytest

from mtmedformer_monai.federated.alignment.assignment import assign


def all_orders(lengths):
    """Enumerates all orders of a tree of blocks; lengths are the numbers of children per level, outermost first."""
    if not lengths:
        yield [0]
        return
    inner = list(all_orders(lengths[1:]))
    size = len(inner[0])
    for blocks in itertools.permutations(range(lengths[0])):
        for chosen in itertools.product(inner, repeat=lengths[0]):
            yield [block * size + unit for block, order in zip(blocks, chosen, strict=True) for unit in order]


def value(values, order):
    return values[np.arange(len(order)), order].sum()


@pytest.mark.parametrize("lengths", [(4,), (2, 3), (3, 2), (2, 2, 2)], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_finds_the_best_of_all_orders_that_keep_blocks(lengths, seed):
    sizes = np.cumprod(lengths)
    labels = [f"level{level}" for level in range(len(lengths))]
    generator = np.random.default_rng(seed)
    values = {label: generator.normal(size=(size, size)) for label, size in zip(labels, sizes, strict=True)}
    orders = assign(values, dict(zip(labels, ["", *labels], strict=False)))

    def total(units):
        blocks = [sizes[-1] // size for size in sizes]  # units in a block of each level
        return sum(value(values[label], units[::block] // block) for label, block in zip(labels, blocks, strict=True))

    best = max(total(np.array(order)) for order in all_orders(lengths))
    assert total(orders[labels[-1]]) == pytest.approx(best)
    assert sum(value(values[label], orders[label]) for label in labels) == pytest.approx(best)


def test_two_groups_within_the_same_blocks_move_with_them():
    keys, values = np.zeros((4, 4)), np.zeros((6, 6))
    keys[0, 3] = keys[2, 0] = 1.0  # head 0 matches head 1's keys in reverse order, and head 1 those of head 0
    values[0:3, 3:6] = values[3:6, 0:3] = np.eye(3)[::-1]
    orders = assign(
        {"heads": np.zeros((2, 2)), "keys": keys, "values": values}, {"heads": "", "keys": "heads", "values": "heads"}
    )
    assert orders["heads"].tolist() == [1, 0]
    assert orders["keys"].tolist() == [3, 2, 0, 1]
    assert orders["values"].tolist() == [5, 4, 3, 2, 1, 0]
