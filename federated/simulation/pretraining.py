"""Sites that train alone before the federation: their weights, and the site whose weights the others start from."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtmedformer_monai.engines.checkpointing.training_state import bare
from mtmedformer_monai.engines.handlers.seeding import epoch_seed
from mtmedformer_monai.federated.client.local_training import copy_to_cpu
from mtmedformer_monai.federated.exchange import read_exchange, to_exchange
from mtmedformer_monai.federated.message import TensorKind, key
from mtmedformer_monai.io.atomic_files import save_checkpoint
from mtmedformer_monai.io.config_text import config_text

from .bundle_parts import initial_weights
from .cohort import count_images
from .worker import SiteSpec, make_client


@dataclasses.dataclass(frozen=True)
class Pretraining:
    """The training of one site alone, from initial weights of its own.

    Attributes:
        seed: of its initial weights and its training.
        epochs: number of epochs.
        path: file of the trained weights, a flat state dict.
    """

    seed: int
    epochs: int
    path: Path

    @staticmethod
    def of_site(spec: SiteSpec, datalist: Path, index: int, seed: int, epochs: int, folder: Path) -> Pretraining:
        """Returns the pretraining of a site; methods with the same site, data and training share its file.

        Args:
            spec: the site.
            datalist: its data.
            index: of the site among all sites.
            seed: of the simulation.
            epochs: number of epochs.
            folder: for the files of all sites.
        """
        own_seed = epoch_seed(seed, 0, index + 1)
        overrides = {name: value for name, value in spec.overrides.items() if name != "output_dir"}
        content = repr((str(spec.bundle), own_seed, epochs, sorted(overrides.items(), key=repr))).encode()
        digest = hashlib.sha256(content + datalist.read_bytes()).hexdigest()[:12]
        return Pretraining(own_seed, epochs, folder / f"{spec.name}_{digest}.pt")


def pretrain(spec: SiteSpec, pretraining: Pretraining, broadcast: Path) -> Path:
    """Trains a site alone, unless its file exists; returns the path of its weights.

    Args:
        spec: the site.
        pretraining: seed, epochs and file.
        broadcast: file of the server's broadcast, with the common scales of the tasks' losses.

    Raises:
        FloatingPointError: the training diverged.
    """
    if pretraining.path.is_file():
        return pretraining.path
    overrides = {
        **spec.overrides,
        "rounds": 1,
        "local_epochs": pretraining.epochs,
        "seed": pretraining.seed,
        "output_dir": config_text(spec.folder / "pretraining"),
    }
    client = make_client(_alone(spec, pretraining, overrides))
    start = initial_weights(spec.bundle, overrides, pretraining.seed)
    means = {key(TensorKind.MEAN, name): value for name, value in start.items()}
    client.train(to_exchange({**(read_exchange(broadcast).weights or {}), **means}, {}))
    if not client.get_weights().weights:
        raise FloatingPointError(f"the pretraining of {spec.name} diverged; lower the bundle's learning_rate.")
    save_checkpoint(
        {name: copy_to_cpu(value) for name, value in bare(client.trainer.network).state_dict().items()},
        pretraining.path,
    )
    return pretraining.path


def largest_site(datalists: Mapping[str, Path]) -> str:
    """Returns the name of the site with the most training images; the first of equals.

    Args:
        datalists: {site: datalist}.
    """
    return max(datalists, key=lambda site: count_images(datalists[site]))


def _alone(spec: SiteSpec, pretraining: Pretraining, overrides: Mapping[str, Any]) -> SiteSpec:
    """Returns the site as the only client of a plain average."""
    return dataclasses.replace(
        spec,
        strategy="fedavg",
        strategy_settings={},
        local_epochs=pretraining.epochs,
        options={"seed": pretraining.seed},
        overrides=overrides,
    )
