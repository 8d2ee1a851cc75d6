"""Sums of the natural parameters of factors, as an `Accumulator` keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from torch import Tensor

from mtmedformer_monai.federated.gaussian import Gaussian
from mtmedformer_monai.federated.message import TensorKind, key
from mtmedformer_monai.federated.tensor_sums import TensorSums, Terms

Factor = dict[str, Gaussian]
"""{weight: natural parameters}. A missing weight has a constant factor."""

PRECISION: Final = key(TensorKind.PRECISION, "")
"""Beginning of the names of precisions."""


class FactorSums(TensorSums):
    """Running sums of the natural parameters of factors, by `kind/name`."""

    def gaussian(self, name: str) -> Gaussian | None:
        """Returns the sum of a weight; None if nothing was added. Later additions leave it unchanged."""
        mean = self.get(key(TensorKind.PRECISION_MEAN, name))
        precision = self.get(key(TensorKind.PRECISION, name))
        return None if mean is None or precision is None else Gaussian(mean, precision)

    def whole(self, name: str) -> Gaussian:
        """Returns the sum of a weight that has one."""
        found = self.gaussian(name)
        if found is None:
            raise KeyError(f"weight {name!r} has no sum.")
        return found

    def factor(self) -> Factor:
        """Returns the sums of all weights."""
        return {name: self.whole(name) for name in names_of(self)}


def terms_of(factor: Mapping[str, Gaussian]) -> Terms:
    """Returns the natural parameters by `kind/name`."""
    parts = {key(TensorKind.PRECISION_MEAN, name): value.precision_mean for name, value in factor.items()}
    parts |= {key(TensorKind.PRECISION, name): value.precision for name, value in factor.items()}
    return Terms.of(parts, repeated=PRECISION)


def precision_of(change: Terms) -> float:
    """Returns the sum of the tensors' mean precisions."""
    return sum(change.means(PRECISION).values())


def sums_of(*terms: Terms) -> FactorSums:
    """Returns the sums of terms."""
    sums = FactorSums()
    for each in terms:
        sums.add(each)
    return sums


def names_of(names: Iterable[str]) -> dict[str, None]:
    """Returns the weights among names of the form `kind/name`."""
    kind = key(TensorKind.PRECISION_MEAN, "")
    return {name[len(kind) :]: None for name in names if name.startswith(kind)}


def to_lists(factor: Mapping[str, Gaussian]) -> dict[str, list[Tensor]]:
    """Returns a factor as lists of tensors, for a file."""
    return {name: list(value) for name, value in factor.items()}


def from_lists(lists: Mapping[str, Any]) -> Factor:
    """Returns the factor that `to_lists` has written, without weights that have none."""
    return {name: Gaussian(*value) for name, value in lists.items() if value}
