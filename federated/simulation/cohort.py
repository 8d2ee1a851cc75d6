"""The data of a simulated federation: a cohort partitioned across sites, as datalists on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtmedformer_monai.data import read_datalist, save_datalist
from mtmedformer_monai.data.datalist import SECTIONS, resolve_paths
from mtmedformer_monai.data.sites import partition_across_sites
from mtmedformer_monai.data.synthetic.cohorts import make_cohort
from mtmedformer_monai.federated.sites_file import Site

from .settings import SimulationSettings


@dataclass(frozen=True)
class FederatedData:
    """Paths of the datalists of a federation.

    Attributes:
        sites: {name of a site: its datalist}.
        pooled: the data of all sites, as a single site would hold them.
        everything: the whole cohort with all its annotations, for evaluation.
    """

    sites: dict[str, Path]
    pooled: Path
    everything: Path


def prepare_data(settings: SimulationSettings) -> FederatedData:
    """Generates or reads the cohort, and writes the datalists; an existing generated cohort is reused.

    Raises:
        ValueError: the cohort cannot be partitioned as requested.
    """
    folder = settings.output / "data"
    if settings.sites:
        return _of_sites(settings.sites, folder)
    source = settings.datalist or _generate(settings, folder / "cohort")
    datalist = _with_absolute_paths(read_datalist(source), source.resolve().parent)
    sites = partition_across_sites(
        datalist, settings.num_sites, settings.partition, settings.seed, _first_label(datalist)
    )
    paths = {
        f"site_{number}": save_datalist(site, folder / f"site_{number}.json")
        for number, site in enumerate(sites, start=1)
    }
    pooled = datalist | {section: [item for site in sites for item in site[section]] for section in SECTIONS}
    return FederatedData(
        paths, save_datalist(pooled, folder / "pooled.json"), save_datalist(datalist, folder / "everything.json")
    )


def _of_sites(sites: Sequence[Site], folder: Path) -> FederatedData:
    """Writes the datalists of sites with data of their own."""
    lists = {site.name: _own_datalist(site) for site in sites}
    paths = {name: save_datalist(own, folder / f"{name}.json") for name, own in lists.items()}
    everything = {section: [item for own in lists.values() for item in own[section]] for section in SECTIONS}
    pooled = save_datalist(everything, folder / "pooled.json")
    return FederatedData(paths, pooled, save_datalist(everything, folder / "everything.json"))


def _own_datalist(site: Site) -> dict[str, Any]:
    if not (site.datalist or site.dataset_dir):
        raise ValueError(f"site {site.name!r} expects a datalist or a dataset_dir; see docs/flare.md.")
    source = Path(site.datalist or Path(site.dataset_dir) / "datalist.json")
    return _with_absolute_paths(read_datalist(source), Path(site.dataset_dir or source.parent))


def count_images(datalist: Path) -> int:
    """Returns the number of training images in a datalist."""
    return len(read_datalist(datalist)["training"])


def _generate(settings: SimulationSettings, folder: Path) -> Path:
    path = folder / "datalist.json"
    if path.is_file():
        return path
    kind = json.loads((settings.bundle / "configs/demo.json").read_text())["cohort"]["kind"]
    return make_cohort(kind, folder, settings.patients, 2 * settings.image_size, settings.seed)


def _with_absolute_paths(datalist: dict[str, Any], folder: Path) -> dict[str, Any]:
    return datalist | {
        section: [resolve_paths(item, folder) for item in datalist.get(section) or []] for section in SECTIONS
    }


def _first_label(datalist: dict[str, Any]) -> str:
    """Returns the task whose classes define the partition: the one with the most labeled images."""
    names = [name for section in SECTIONS for item in datalist[section] for name in item.get("labels") or {}]
    return max(sorted(set(names)), key=names.count, default="")
