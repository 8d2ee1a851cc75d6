"""Tells what is wrong with the studies and views of a datalist's mammograms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mtmedformer_monai.keys import LATERALITY, PATIENT_ID, STUDY_ID, VIEW

from .missing import id_text

SIDES = ("L", "R")


def view_problems(item: Mapping[str, Any]) -> Iterator[str]:
    """Yields a text for a laterality that is no side, and for a view that is no text."""
    side, view = item.get(LATERALITY), item.get(VIEW)
    if side not in (None, "", *SIDES):
        yield f"{LATERALITY} expects 'L' or 'R', got {side!r}; name the breast's side, or leave it out."
    if view is not None and not isinstance(view, str):
        yield f"{VIEW} expects text such as 'CC' or 'MLO', got {view!r}; name it, or leave it out."


def study_problems(places: Sequence[tuple[str, int, Mapping[str, Any]]]) -> Iterator[tuple[int, str]]:
    """Yields what is wrong with a study, once at every image that brings it in; the ids themselves are not told.

    Args:
        places: section, index in it, and item.

    Yields:
        Position in `places`, and text.
    """
    sections: dict[str, dict[str, str]] = {}
    patients: dict[str, dict[str, str]] = {}
    for position, (section, index, item) in enumerate(places):
        study, place = id_text(item.get(STUDY_ID)), f"{section}[{index}]"
        if not study:
            continue
        if first := _met_elsewhere(sections.setdefault(study, {}), section, place):
            yield position, f"its study is in {first} too; split by patient: mtmedformer datalist split."
        patient = id_text(item.get(PATIENT_ID))
        if patient and (first := _met_elsewhere(patients.setdefault(study, {}), patient, place)):
            yield position, f"its study has another patient at {first}; a study is one patient's: mend {STUDY_ID!r}."


def _met_elsewhere(met: dict[str, str], key: str, place: str) -> str | None:
    """Where a study was met under another key, when this one is new to it."""
    first = next((other for name, other in met.items() if name != key), None) if key not in met else None
    met.setdefault(key, place)
    return first
