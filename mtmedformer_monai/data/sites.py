"""Partitions a cohort across homogeneous or heterogeneous sites, to simulate a federation."""

# S sites

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from mtmedformer_monai.keys import ANNOTATIONS, PATIENT_ID, SITE

from .datalist import SECTIONS, Datalist, Item
from .missing import id_text
from .split import group_by_patient, strata_of

CONCENTRATION = 0.5
"""Concentration of the Dirichlet distribution of classes over sites, a common choice in federated benchmarks (Hsu et
al., arXiv:1909.06335)."""

Patients = dict[str, list[Mapping[str, Any]]]
Owners = dict[str, int]
"""{patient: index of its site}."""


def partition_across_sites(
    datalist: Mapping[str, Any], num_sites: int, partition: str = "iid", seed: int = 0, stratify_on: str = ""
) -> list[Datalist]:
    """Partitions a datalist across sites. All images of a patient are assigned to one site and keep their section.

    Args:
        datalist: datalist with a `patient_id` for each item.
        num_sites: S, the number of sites.
        partition: how the patients are assigned to sites.
            'iid': at random, so that the sites do not differ.
            'site': by the `site` of the items, which is the scanner in synthetic cohorts.
            'labels': with class frequencies that differ between sites, drawn from a Dirichlet distribution.
            'tasks': at random, but each site keeps only masks, only boxes, or only labels of its training and
            validation items. Test items keep all annotations, so that a simulation can evaluate every task.
        seed: random seed of the partition.
        stratify_on: classification task whose classes are partitioned, for 'labels'.

    Returns:
        S datalists with the paths of the original.

    Raises:
        ValueError: the partition is unknown, an item has no patient, or a site has no training or validation images.
    """
    if partition not in _PARTITIONS:
        raise ValueError(f"partition expects one of {sorted(_PARTITIONS)}, got {partition!r}.")
    if num_sites < 1:
        raise ValueError(f"num_sites expects 1 or more, got {num_sites}.")
    patients = group_by_patient([item for section in SECTIONS for item in datalist.get(section) or []])
    owners = _PARTITIONS[partition](patients, num_sites, random.Random(seed), stratify_on)
    sites = [_list_of(datalist, owners, number) for number in range(num_sites)]
    if partition == "tasks":
        sites = [_keep(site, _kinds_of(number, num_sites)) for number, site in enumerate(sites)]
    for number, site in enumerate(sites):
        for section in ("training", "validation"):
            if not site.get(section):
                raise ValueError(
                    f"site {number + 1} of {num_sites} has no {section} images; use fewer sites or more patients."
                )
    return sites


def _at_random(patients: Patients, num_sites: int, rng: random.Random, _: str) -> Owners:
    order = sorted(patients)
    rng.shuffle(order)
    return {patient: index % num_sites for index, patient in enumerate(order)}


def _by_site(patients: Patients, num_sites: int, rng: random.Random, _: str) -> Owners:
    scanners = sorted({id_text(item.get(SITE)) for items in patients.values() for item in items})
    if len(scanners) < num_sites or "" in scanners:
        raise ValueError(
            f"partition='site' expects items with {num_sites} or more values of {SITE!r}, got {scanners}; "
            "partition by 'labels' or 'tasks', or use fewer sites."
        )
    return {patient: scanners.index(id_text(items[0][SITE])) % num_sites for patient, items in patients.items()}


def _by_labels(patients: Patients, num_sites: int, rng: random.Random, task: str) -> Owners:
    """Assigns the patients of each class to sites in proportions drawn from a Dirichlet distribution."""
    classes = strata_of(patients, task)
    owners: Owners = {}
    for name in sorted(set(classes.values())):
        members = sorted(patient for patient, each in classes.items() if each == name)
        rng.shuffle(members)
        draws = [rng.gammavariate(CONCENTRATION, 1.0) for _ in range(num_sites)]
        bounds = [edge / sum(draws) * len(members) for edge in accumulate(draws)]
        for index, patient in enumerate(members):
            owners[patient] = next((site for site, edge in enumerate(bounds) if index < edge), num_sites - 1)
    return owners


_PARTITIONS: dict[str, Callable[[Patients, int, random.Random, str], Owners]] = {
    "iid": _at_random,
    "site": _by_site,
    "labels": _by_labels,
    "tasks": _at_random,
}


def _list_of(datalist: Mapping[str, Any], owners: Owners, number: int) -> Datalist:
    return dict(datalist) | {
        section: [dict(item) for item in datalist.get(section) or [] if owners[id_text(item[PATIENT_ID])] == number]
        for section in SECTIONS
    }


def _kinds_of(number: int, num_sites: int) -> Sequence[str]:
    """Returns the kinds of annotation that a site keeps; with enough sites, each kind is kept by at least one."""
    kept = [kind for index, kind in enumerate(ANNOTATIONS) if index % num_sites == number]
    return kept or [ANNOTATIONS[number % len(ANNOTATIONS)]]


def _keep(site: Datalist, kinds: Sequence[str]) -> Datalist:
    dropped = [kind for kind in ANNOTATIONS if kind not in kinds]
    reduced = {section: [_without(item, dropped) for item in site[section]] for section in ("training", "validation")}
    return site | reduced


def _without(item: Item, dropped: Sequence[str]) -> Item:
    return {key: value for key, value in item.items() if key not in dropped}
