"""Checks the studies and views of the mammograms in a datalist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mtmedformer_monai.keys import LATERALITY, PATIENT_ID, STUDY_ID, VIEW

from .missing import id_text

SIDES = ("L", "R")


def view_problems(item: Mapping[str, Any]) -> Iterator[str]:
    """Yields a message if the laterality is not 'L' or 'R', and if the view is not text."""
    side, view = item.get(LATERALITY), item.get(VIEW)
    if side not in (None, "", *SIDES):
        yield f"{LATERALITY} expects 'L' or 'R', got {side!r}; specify the side of the breast, or remove it."
    if view is not None and not isinstance(view, str):
        yield f"{VIEW} expects text such as 'CC' or 'MLO', got {view!r}; correct or remove it."


def study_problems(places: Sequence[tuple[str, int, Mapping[str, Any]]]) -> Iterator[tuple[int, str]]:
    """Yields the problems of studies, at the first image that causes each, without disclosing the IDs.

    Args:
        places: (section, index in the section, item) of each image.

    Yields:
        Position in `places`, and the message.
    """
    sections: dict[str, dict[str, str]] = {}
    patients: dict[str, dict[str, str]] = {}
    for position, (section, index, item) in enumerate(places):
        study, place = id_text(item.get(STUDY_ID)), f"{section}[{index}]"
        if not study:
            continue
        if first := _met_elsewhere(sections.setdefault(study, {}), section, place):
            yield position, f"its study is also in {first}; split by patient: mtmedformer datalist split."
        patient = id_text(item.get(PATIENT_ID))
        if patient and (first := _met_elsewhere(patients.setdefault(study, {}), patient, place)):
            yield (
                position,
                f"its study has another patient at {first}; a study belongs to one patient: correct {STUDY_ID!r}.",
            )


def _met_elsewhere(met: dict[str, str], key: str, place: str) -> str | None:
    """Returns where a study first occurred with another key, if `key` is new for it; otherwise None."""
    first = next((other for name, other in met.items() if name != key), None) if key not in met else None
    met.setdefault(key, place)
    return first
