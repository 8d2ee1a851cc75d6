"""Options that each client chooses for itself."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import Any

from .personal import OWN_SHARE


@dataclass(frozen=True)
class ClientOptions:
    """Options that each client chooses for itself.

    Attributes:
        optimizer: 'keep' or 'reset' the optimizer's moments between rounds.
        start_weights: file with the client's own initial weights; empty starts from the server's.
        personal: whether to infer with personal weights: those that the strategy keeps at the client, and `own_share`.
        own_share: additional weight of the client's own factor in personal weights; 0 is its group's posterior.
        seed: of the training, unless the bundle seeds each epoch.
        loss_batches: maximum number of batches for measuring initial losses.
        update_filters: settings of the filters that the update of each round passes (`make_filters`). With filters, the
            client sends no initial losses.
        leave: whether to leave the federation: instead of training, the client takes back what it has sent
            (`BayesianMonaiAlgo.withdraw`), and sends nothing in later rounds. It still evaluates.
        privacy_budget: `file`, `epsilon` and `delta` of a `PrivacyBudget`; needs a Gaussian filter; empty for none.
    """

    optimizer: str = "keep"
    start_weights: str = ""
    personal: bool = False
    own_share: float = OWN_SHARE
    seed: int = 0
    loss_batches: int = 16
    update_filters: Sequence[Any] = ()
    leave: bool = False
    privacy_budget: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validates the options.

        Raises:
            ValueError: an unknown value of `optimizer`, an `own_share` that is not a number of 0 or more, or a `leave`
                that is neither true nor false.
        """
        if not isinstance(self.leave, bool):
            raise ValueError(f"leave expects true or false, got {self.leave!r}.")
        if self.optimizer not in {"keep", "reset"}:
            raise ValueError(f"optimizer expects 'keep' or 'reset', got {self.optimizer!r}.")
        share = self.own_share
        if not isinstance(share, Real) or not math.isfinite(share) or share < 0:
            raise ValueError(f"own_share expects a finite number of 0 or more, got {share!r}.")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ClientOptions:
        """Returns the options from their values by name, such as those in a site's own file.

        Raises:
            ValueError: an unknown name or a value out of range.

        Example:
            >>> ClientOptions.from_dict({"ownshare": 0.5})
            Traceback (most recent call last):
            ValueError: a site has no option 'ownshare'; did you mean 'own_share'? Its options are optimizer, ...
        """
        known = [each.name for each in fields(cls)]
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                remedy = f"; did you mean {near[0]!r}?" if near else "."
                raise ValueError(f"a site has no option {name!r}{remedy} Its options are {', '.join(known)}.")
        return cls(**values)
