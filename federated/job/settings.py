"""Settings of a federation, which the job carries to the server and the server to the sites."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, Final

from mtmedformer_monai.federated.simulation.worker import SiteSpec
from mtmedformer_monai.federated.sites_file import Site
from mtmedformer_monai.io.config_text import config_text


@dataclass(frozen=True)
class JobSettings:
    """Plain numbers and names, which contain no code and no paths; of what a job brings, sites accept nothing else.

    Attributes:
        name: of the job.
        num_rounds: number of rounds.
        local_epochs: number of epochs per site and round.
        strategy: name, as in `make_strategy`.
        strategy_settings: settings of the strategy.
        seed: of the initial weights and of the training.
        image_size: rows and columns of the network's input; empty: those of the bundle.
        overrides: numbers of the bundle's config, at all sites: {id: value}.
        min_sites: number of sites whose messages a round needs; 0: all sites of the job.
        round_timeout: seconds after which a round closes without the sites that have not answered; 0: never.
        track: whether the server logs the rounds to MLflow.
        update_filters: filters of updates at all sites, in front of a site's own (`client.update_filters`).
    """

    name: str = "mtmedformer"
    num_rounds: int = 5
    local_epochs: int = 4
    strategy: str = "bayesian"
    strategy_settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    image_size: tuple[int, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    min_sites: int = 0
    round_timeout: int = 0
    track: bool = True
    update_filters: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        """Validates the settings.

        Raises:
            ValueError: what enters a bundle's config is more than numbers, or a number is out of range.
        """
        for name, least in _LEAST.items():
            _check_whole(name, getattr(self, name), least)
        for length in self.image_size:
            _check_whole("image_size", length, 1)
        for name, value in self.overrides.items():
            check_override(name, value)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> JobSettings:
        """Returns the settings that `to_dict` has written."""
        return cls(**{**values, **{name: tuple(values.get(name, ())) for name in ("image_size", "update_filters")}})

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as plain values."""
        filters = [dict(each) for each in self.update_filters]
        return {**dataclasses.asdict(self), "image_size": list(self.image_size), "update_filters": filters}

    def lasting(self) -> dict[str, Any]:
        """Returns the settings that may not change when a federation is resumed.

        The limit of images may, because it only decides which messages are refused.
        """
        free = ("name", "min_sites", "round_timeout", "track", "strategy_settings")
        kept = {name: value for name, value in self.strategy_settings.items() if name != "most_images"}
        return {name: value for name, value in self.to_dict().items() if name not in free} | {"strategy_settings": kept}

    def common_overrides(self) -> dict[str, Any]:
        """Returns the overrides of the bundle's config at all sites and at the server."""
        own: dict[str, Any] = {"rounds": self.num_rounds, "local_epochs": self.local_epochs, "seed": self.seed}
        if self.image_size:
            own["image_size"] = list(self.image_size)
        return {**own, **self.overrides}

    def spec(self, site: Site) -> SiteSpec:
        """Returns what a site trains: these settings, and its own, which prevail."""
        from mtmedformer_monai.federated.strategies import make_strategy

        personal = make_strategy(self.strategy, **self.strategy_settings).is_personal
        folder = Path(site.output)
        own = {**site.data_overrides(), "output_dir": config_text(folder)}
        filters = [*self.update_filters, *site.options.get("update_filters", ())]
        silent = {"train#handlers_with_state": "$[@train#history]"}  # the server tracks all sites
        return SiteSpec(
            site.name,
            Path(site.bundle),
            folder,
            self.strategy,
            self.strategy_settings,
            self.local_epochs,
            {
                "personal": personal,
                "seed": self.seed,
                **site.options,
                **({"update_filters": filters} if filters else {}),
            },
            {**self.common_overrides(), **own, **silent, **site.overrides},
        )


_LEAST: Final = {"num_rounds": 1, "local_epochs": 1, "min_sites": 0, "round_timeout": 0, "seed": 0}
"""Whole numbers, and the smallest value of each."""


def _check_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} expects a whole number, got {type(value).__name__}; text could run code at a site.")
    if value < least:
        raise ValueError(f"{name} expects {least} or more, got {value}.")


def check_override(name: str, value: Any) -> None:
    """Raises an error unless an override from a job is made of numbers.

    MONAI configs execute expressions and instantiate any class, so text that a job brings could run code at a site,
    past FLARE's list of allowed classes. Text and components are set in the site's own file.

    Raises:
        ValueError: the override is more than numbers.

    Example:
        >>> check_override("learning_rate", 0.01)
        >>> check_override("loss", "$__import__('os')")
        Traceback (most recent call last):
        ValueError: override 'loss' of a job expects numbers, got text; set it in the site's own file.
    """
    if any(part.startswith(("_", "+")) for part in name.replace("::", "#").split("#")):
        raise ValueError(f"override {name!r} of a job expects an id without '_' or '+'; set it in the site's own file.")
    for each in value if isinstance(value, list | tuple) else [value]:
        if not isinstance(each, Real):
            kind = "text" if isinstance(each, str) else type(each).__name__
            raise ValueError(f"override {name!r} of a job expects numbers, got {kind}; set it in the site's own file.")
