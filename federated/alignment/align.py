"""Brings the units of a network into the order of a reference, by their weights alone.

Weight matching (Ainsworth et al., Git Re-Basin, ICLR 2023, section 3.2): of all orders of its units, the one in which a
network's weights lie nearest to the reference's. Group by group this is an assignment problem. The order in which
groups are visited decides: from the input on, each by those weights alone whose other axes are settled, so that nothing
is matched against a jumble; then all groups again by all weights, until nothing moves.

Units stay where they are unless a move brings them nearer by more than a share of what they are: from common weights
nothing moves, and one look at all weights tells that nothing could.
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
"""Share of squared lengths that float32 may make up: no reason to move."""


@dataclass(frozen=True)
class AlignmentSettings:
    """How units are matched.

    Attributes:
        damping: in favor of the order that a network came with: units of a group move if that lowers their squared
            distance by more than this share of the squared lengths of both networks' units (from the units' mean).
        precision_share: of the precision, where there is one, in the metric; the rest weighs all weights alike.
        max_sweeps: over the groups, after the first.
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
    """Finds the permutation that brings a network's units into the order of a reference.

    Args:
        reference: {parameter: tensor}, such as the broadcast mean of a federation; buffers may be among them.
        weights: the same of the network that joins. Names that only one of the two has tell nothing.
        groups: of the network that joins.
        precision: diagonal, of the reference's weights; a parameter that it leaves out has the plain metric.
        settings: of the matching.

    Returns:
        To apply by `permute` to the network that joins, its precision, and its optimizer's state. The identity,
        exactly, where no move is worth it.

    Raises:
        ValueError: a parameter of different shapes.
    """
    names = [name for name, axes in groups.axes.items() if any(axes) and name in reference and name in weights]
    for name in names:
        if reference[name].shape != weights[name].shape:
            ours, theirs = tuple(reference[name].shape), tuple(weights[name].shape)
            raise ValueError(
                f"{name!r} expects the reference's shape {ours}, got {theirs}; align networks of one make."
            )
    chosen = settings or AlignmentSettings()
    known = {name: precision[name] for name in names if name in precision} if precision else {}
    comparison = UnitComparison(_plain(reference, names), metric_of(_plain(known, list(known)), chosen.precision_share))
    return _Matching(comparison, _plain(weights, names), groups, chosen).run()


class _Matching:
    """A network on its way to the reference's order."""

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
        """Settles what can't move, then the rest from the input on, then sweeps."""
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
        """Visits groups by all their weights until none moves."""
        for _ in range(self._settings.max_sweeps):
            for root in [each for each in self._slots.trees if each in unsettled]:
                unsettled.discard(root)
                unsettled |= self._improve(root, everything)

    def _improve(self, root: str, settled: Set[str]) -> Set[str]:
        """Brings the units of a tree into their best order by what is settled.

        Returns:
            Roots of trees whose comparison that changes; none if nothing moved.
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
        """Whether no order can be worth a move, told without comparing all pairs of units.

        No match costs less than 0, so units that change slots can't come nearer by more than their distances now.
        """
        for label, each in similarity.items():
            at_home = self._permutation[label] == self._identity[label]
            allowed = torch.where(at_home, max(self._settings.damping, ROUNDING), ROUNDING)
            if bool((each.distance > allowed * (each.ours + each.theirs)).any()):
                return False
        return True

    def _best(self, similarity: Mapping[str, Similarity], settled: Set[str]) -> Permutation:
        """The order that is worth most; the one that the network came with, or has now, if that is worth about it."""
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
    """By how much the summed squared distance is less in another order."""
    total = 0.0
    for label, each in values.items():
        slots = np.arange(len(each))
        difference = each[slots, other[label].numpy()].astype(np.float64) - each[slots, one[label].numpy()]
        total += 2.0 * float(difference.sum())
    return total


def _lengths(similarity: Mapping[str, Similarity], one: Permutation, other: Permutation) -> float:
    """Summed squared lengths, in both networks, of the units in slots where two orders differ."""
    total = 0.0
    for label, each in similarity.items():
        differ = one[label] != other[label]
        total += float((each.ours + each.theirs[one[label]])[differ].sum())
    return total


def _plain(tensors: Mapping[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    """Some of the tensors in float32, on the CPU."""
    return {name: tensors[name].detach().float().cpu() for name in names}
