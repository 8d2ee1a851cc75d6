"""Partitions a cohort across sites, homogeneous or heterogeneous, to simulate a federation."""

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
"""Of the Dirichlet distribution of classes over sites; a usual choice of federated benchmarks (Hsu et al., arXiv
1909.06335)."""

Patients = dict[str, list[Mapping[str, Any]]]
Owners = dict[str, int]
"""{patient: number of its site}."""


def partition_across_sites(
    datalist: Mapping[str, Any], num_sites: int, partition: str = "iid", seed: int = 0, stratify_on: str = ""
) -> list[Datalist]:
    """Splits a datalist into one per site. All images of a patient go to one site, and keep their section.

    Args:
        datalist: with a `patient_id` on each item.
        num_sites: S.
        partition: how the sites differ.
            'iid': not at all; patients are assigned at random.
            'site': by the items' own `site`, which names the scanner in generated cohorts.
            'labels': each site has other shares of a task's classes, drawn from a Dirichlet distribution.
            'tasks': at random, and each site keeps only masks, or boxes, or labels of training and validation. Test
            items keep everything, so that a simulation measures what a site could not.
        seed: of the partition.
        stratify_on: with 'labels', the task.

    Returns:
        S datalists with paths as in the original.

    Raises:
        ValueError: an unknown partition, no patients, or a site would have nothing to train on, or to validate on.
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
                    f"site {number + 1} of {num_sites} has no {section} images; take fewer sites or more patients."
                )
    return sites


def _at_random(patients: Patients, num_sites: int, rng: random.Random, _: str) -> Owners:
    order = sorted(patients)
    rng.shuffle(order)
    return {patient: index % num_sites for index, patient in enumerate(order)}


def _by_site(patients: Patients, num_sites: int, rng: random.Random, _: str) -> Owners:
    scanners = sorted({str(item.get(SITE) or "") for items in patients.values() for item in items})
    if len(scanners) < num_sites or "" in scanners:
        raise ValueError(
            f"partition='site' expects items with {num_sites} or more values of {SITE!r}, got {scanners}; "
            "partition by 'labels' or 'tasks', or take fewer sites."
        )
    return {patient: scanners.index(str(items[0][SITE])) % num_sites for patient, items in patients.items()}


def _by_labels(patients: Patients, num_sites: int, rng: random.Random, task: str) -> Owners:
    """Each class's patients are cut into shares of a Dirichlet draw."""
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
    """The kinds of annotation that a site keeps; all kinds are kept somewhere where there are as many sites."""
    kept = [kind for index, kind in enumerate(ANNOTATIONS) if index % num_sites == number]
    return kept or [ANNOTATIONS[number % len(ANNOTATIONS)]]


def _keep(site: Datalist, kinds: Sequence[str]) -> Datalist:
    dropped = [kind for kind in ANNOTATIONS if kind not in kinds]
    learnt = {section: [_without(item, dropped) for item in site[section]] for section in ("training", "validation")}
    return site | learnt


def _without(item: Item, dropped: Sequence[str]) -> Item:
    return {key: value for key, value in item.items() if key not in dropped}
