"""Settings of a simulated federation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mtmedformer_monai.federated.choices import PARTITIONS, STARTS
from mtmedformer_monai.federated.sites_file import Site


@dataclass(frozen=True)
class SimulationSettings:
    """Settings of a simulated federation: bundle, cohort, partition across sites, and training.

    Attributes:
        bundle: folder of the bundle.
        output: folder for all results; an interrupted simulation is resumed from it.
        num_sites: number of sites.
        sites: sites with data and overrides of their own, instead of a partition; their bundles and outputs are unused.
        num_rounds: number of rounds of training and aggregation.
        local_epochs: number of epochs per site and round.
        strategy: name, as in `make_strategy`.
        strategy_settings: settings of the strategy.
        partition: how the sites differ, one of `PARTITIONS`; see `partition_across_sites`.
        datalist: data to partition across the sites; None generates a cohort.
        patients: number of patients in the generated cohort.
        image_size: rows of the network's input.
        seed: of cohort, partition, initial weights and training.
        posterior: whether to write `posterior.pt`, with a temperature fitted at all sites.
        num_processes: maximum number of concurrent site processes.
        overrides: of the bundle's config, at all sites: {id: value}.
        start: weights from which the sites start, one of `STARTS`.
        pretrain_epochs: number of epochs that each site trains alone first, unless the start is 'common'.
    """

    bundle: Path
    output: Path
    num_sites: int = 3
    sites: tuple[Site, ...] = ()
    num_rounds: int = 5
    local_epochs: int = 1
    strategy: str = "bayesian"
    strategy_settings: Mapping[str, Any] = field(default_factory=dict)
    partition: str = "site"
    datalist: Path | None = None
    patients: int = 180
    image_size: int = 64
    seed: int = 0
    posterior: bool = False
    num_processes: int = 2
    overrides: Mapping[str, Any] = field(default_factory=dict)
    start: str = "common"
    pretrain_epochs: int = 4

    def __post_init__(self) -> None:
        """Validates the settings.

        Raises:
            ValueError: a number below 1, or an unknown partition or start.
            FileNotFoundError: the folder is not a bundle with a federated config.
        """
        for name in ("num_sites", "num_rounds", "local_epochs", "num_processes", "pretrain_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} expects 1 or more, got {getattr(self, name)}.")
        if self.partition not in PARTITIONS:
            raise ValueError(f"partition expects one of {', '.join(PARTITIONS)}, got {self.partition!r}.")
        if self.start not in STARTS:
            raise ValueError(f"start expects one of {', '.join(STARTS)}, got {self.start!r}.")
        for name in ("train.json", "evaluate.json", "federated.json"):
            if not (self.bundle / "configs" / name).is_file():
                raise FileNotFoundError(
                    f"bundle expects a folder with configs/{name}, got {self.bundle}; run from the root of the "
                    "repository, or set the bundle's path."
                )

    def lasting(self) -> dict[str, str]:
        """Returns the settings, by name, that a simulation keeps when it is resumed."""
        free = ("bundle", "output", "num_processes", "posterior")
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in free}
        return {name: str(value.resolve() if isinstance(value, Path) else value) for name, value in values.items()}

    @property
    def input_size(self) -> tuple[int, int]:
        """Rows and columns of the network's input, with the bundle's aspect ratio."""
        rows, columns = json.loads((self.bundle / "configs/train.json").read_text())["image_size"]
        return self.image_size, round(self.image_size * columns / rows)
