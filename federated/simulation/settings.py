"""What a simulated federation is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtmedformer_monai.federated.choices import PARTITIONS


@dataclass(frozen=True)
class SimulationSettings:
    """A bundle, a cohort, its partition across sites, and how they train.

    Attributes:
        bundle: the bundle's folder.
        output: folder for everything; an interrupted simulation there is resumed.
        num_sites: of the federation.
        num_rounds: of training and aggregation.
        local_epochs: of a site in a round.
        strategy: name, as of `make_strategy`.
        strategy_settings: its settings.
        partition: how the sites differ, one of `PARTITIONS`; see `partition_across_sites`.
        datalist: to partition across the sites; None generates a cohort.
        patients: of the generated cohort.
        image_size: rows of the network's input.
        seed: of cohort, partition, initial weights and training.
        num_processes: site processes at a time.
        overrides: of the bundle's config, at all sites: {id: value}.
    """

    bundle: Path
    output: Path
    num_sites: int = 3
    num_rounds: int = 5
    local_epochs: int = 1
    strategy: str = "bayesian"
    strategy_settings: Mapping[str, Any] = field(default_factory=dict)
    partition: str = "site"
    datalist: Path | None = None
    patients: int = 180
    image_size: int = 64
    seed: int = 0
    num_processes: int = 2
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses what can't be simulated.

        Raises:
            ValueError: a number below 1, or an unknown partition.
            FileNotFoundError: the folder is no bundle that can be federated.
        """
        for name in ("num_sites", "num_rounds", "local_epochs", "num_processes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} expects 1 or more, got {getattr(self, name)}.")
        if self.partition not in PARTITIONS:
            raise ValueError(f"partition expects one of {', '.join(PARTITIONS)}, got {self.partition!r}.")
        for name in ("train.json", "evaluate.json", "federated.json"):
            if not (self.bundle / "configs" / name).is_file():
                raise FileNotFoundError(
                    f"{self.bundle} has no configs/{name}; run from the root of the repository, or name one."
                )

    @property
    def input_size(self) -> tuple[int, int]:
        """Rows and columns of the network's input, in the bundle's aspect."""
        rows, columns = json.loads((self.bundle / "configs/train.json").read_text())["image_size"]
        return self.image_size, round(self.image_size * columns / rows)
