"""Permutes the units of a network into the order of a reference network, using the weights alone.

Weight matching (Ainsworth et al., Git Re-Basin, ICLR 2023, section 3.2): among all orders of its units, find the one
for which the network's weights are nearest to the reference's. For each group of units, this is an assignment problem.
The result depends on the order in which groups are visited: starting from the input, each group is first matched using
only weights whose other axes are settled, so that nothing is compared with units in arbitrary order; then all groups
are visited again using all weights, until nothing moves.

Units keep their positions unless a move reduces the distance by more than a share of their squared lengths. For
networks with common initial weights, nothing moves, and one pass over the weights suffices to prove it.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mtmedformer_monai.layers.permutation_groups import PermutationGroups

from .assignment import Values, assign
from .axis_slots import AxisSlots
from .permutation import Permutation, compose, identity_permutation, permute
from .similarity import Similarity, UnitComparison, metric_of

ROUNDING = 1e-6
"""Share of the squared lengths that may be due to float32 rounding; smaller gains are no reason to move."""


@dataclass(frozen=True)
class AlignmentSettings:
    """Settings of the matching.

    Attributes:
        damping: preference for the order that a network came with: units of a group move if that lowers their squared
            distance by more than this share of the squared lengths of both networks' units (from the units' mean).
        precision_share: share of the precision, if given, in the metric; the rest weights all weights equally.
        max_sweeps: maximum number of passes over the groups after the first.
    """

    damping: float = 0.02
    precision_share: float = 0.5
    max_sweeps: int = 20


def align(
    reference: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    groups: PermutationGroups,
    precision: Mapping[str, Tensor] | None = None,
    settings: AlignmentSettings | None = None,
) -> Permutation:
    """Finds the permutation of a network's units into the order of a reference.

    Args:
        reference: {parameter: tensor}, such as the broadcast mean of a federation; may include buffers.
        weights: the same for the network to align. Names that only one of the two has are ignored.
        groups: permutation groups of the network to align.
        precision: diagonal precision of the reference's weights; missing parameters use the plain metric.
        settings: of the matching.

    Returns:
        The permutation, to apply with `permute` to the network, its precision and its optimizer's state. Exactly the
        identity if no move is worthwhile.

    Raises:
        ValueError: a parameter has different shapes.
    """
    names = [name for name, axes in groups.axes.items() if any(axes) and name in reference and name in weights]
    for name in names:
        if reference[name].shape != weights[name].shape:
            ours, theirs = tuple(reference[name].shape), tuple(weights[name].shape)
            raise ValueError(
                f"{name!r} expects the reference's shape {ours}, got {theirs}; align networks of the same architecture."
            )
    chosen = settings or AlignmentSettings()
    known = {name: precision[name] for name in names if name in precision} if precision else {}
    comparison = UnitComparison(_plain(reference, names), metric_of(_plain(known, list(known)), chosen.precision_share))
    return _Matching(comparison, _plain(weights, names), groups, chosen).run()


def aligned(
    reference: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    groups: PermutationGroups,
    settings: AlignmentSettings | None = None,
) -> dict[str, Tensor]:
    """Returns the weights of a network with its units in the order of a reference.

    Args:
        reference: as for `align`.
        weights: the same for the network to align; tensors that no group permutes are returned as they are.
        groups: permutation groups of the network to align.
        settings: of the matching.

    Raises:
        ValueError: a parameter has different shapes.
    """
    known = {name: value for name, value in weights.items() if name in groups.axes}
    return {**weights, **permute(known, groups, align(reference, known, groups, settings=settings))}


class _Matching:
    """The state of one alignment."""

    def __init__(
        self,
        comparison: UnitComparison,
        weights: dict[str, Tensor],
        groups: PermutationGroups,
        settings: AlignmentSettings,
    ) -> None:
        self._comparison, self._current, self._groups, self._settings = comparison, weights, groups, settings
        self._slots = AxisSlots(groups, {name: tuple(value.shape) for name, value in weights.items()})
        self._identity = identity_permutation(groups)
        self._permutation = self._identity

    def run(self) -> Permutation:
        """Settles groups that cannot move, matches the others starting from the input, then sweeps."""
        everything = set(self._slots.trees)
        settled = {root for root in everything if self._stays(self._similarity(root, everything))}
        waiting = [root for root in self._slots.trees if root not in settled]
        unsettled = set(waiting)
        while waiting:
            root = next((each for each in waiting if self._slots.is_anchored(each, settled)), waiting[0])
            unsettled |= self._improve(root, settled)
            settled.add(root)
            waiting.remove(root)
        self._sweep(unsettled, everything)
        return self._permutation

    def _sweep(self, unsettled: set[str], everything: Set[str]) -> None:
        """Visits groups, using all their weights, until none moves."""
        for _ in range(self._settings.max_sweeps):
            for root in [each for each in self._slots.trees if each in unsettled]:
                unsettled.discard(root)
                unsettled |= self._improve(root, everything)

    def _improve(self, root: str, settled: Set[str]) -> Set[str]:
        """Moves the units of a tree of groups into their best order given the settled trees.

        Returns:
            Roots of trees whose comparison changes; empty if nothing moved.
        """
        similarity = self._similarity(root, settled)
        if self._stays(similarity):
            return set()
        order = {**self._identity, **self._best(similarity, settled)}
        if all(torch.equal(order[label], self._identity[label]) for label in similarity):
            return set()
        self._current = permute(self._current, self._groups, order)
        self._permutation = compose(self._permutation, order)
        return self._slots.neighbors[root]

    def _similarity(self, root: str, settled: Set[str]) -> dict[str, Similarity]:
        return {
            label: self._comparison.similarity(
                self._current, self._slots.usable(label, settled), self._groups.groups[label].size
            )
            for label in self._slots.trees[root]
        }

    def _stays(self, similarity: Mapping[str, Similarity]) -> bool:
        """Returns whether no order can be worth a move, without comparing all pairs of units.

        No match costs less than 0, so units that change slots cannot reduce the distance by more than its present
        value.
        """
        for label, each in similarity.items():
            at_home = self._permutation[label] == self._identity[label]
            allowed = torch.where(at_home, max(self._settings.damping, ROUNDING), ROUNDING)
            if bool((each.distance > allowed * (each.ours + each.theirs)).any()):
                return False
        return True

    def _best(self, similarity: Mapping[str, Similarity], settled: Set[str]) -> Permutation:
        """Returns the best order; keeps the original or the present order if the gain is too small."""
        values = {
            label: self._comparison.values(self._current, self._slots.usable(label, settled), len(each.ours)).numpy()
            for label, each in similarity.items()
        }
        orders = assign(values, {label: self._groups.groups[label].within for label in values})
        best = {label: torch.from_numpy(order) for label, order in orders.items()}
        home = {label: self._permutation[label].argsort() for label in values}
        if _gain(values, home, best) <= self._settings.damping * _lengths(similarity, home, best):
            return home
        now = {label: self._identity[label] for label in values}
        return best if _gain(values, now, best) > ROUNDING * _lengths(similarity, now, best) else now


def _gain(values: Mapping[str, Values], one: Permutation, other: Permutation) -> float:
    """Returns the reduction of the summed squared distance from one order to another."""
    total = 0.0
    for label, each in values.items():
        slots = np.arange(len(each))
        difference = each[slots, other[label].numpy()].astype(np.float64) - each[slots, one[label].numpy()]
        total += 2.0 * float(difference.sum())
    return total


def _lengths(similarity: Mapping[str, Similarity], one: Permutation, other: Permutation) -> float:
    """Returns the summed squared lengths, in both networks, of the units in slots where two orders differ."""
    total = 0.0
    for label, each in similarity.items():
        differ = one[label] != other[label]
        total += float((each.ours + each.theirs[one[label]])[differ].sum())
    return total


def _plain(tensors: Mapping[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    """Returns the named tensors in float32 on the CPU."""
    return {name: tensors[name].detach().float().cpu() for name in names}
