import numpy as np
import pytest
import torch
from pydicom.dataset import Dataset

from mtmedformer_monai.transforms.geometry.patient_orientation import read_patient_orientation, turn_of_orientation
from mtmedformer_monai.transforms.geometry.turns import Turn


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["P", "FL"], "P\\FL"),
        (["A ", "R"], "A\\R"),
        ("CC", ""),  # CBIS-DDSM stores the view in this element
        ([], ""),
        (["P"], ""),
        (["P", ""], ""),
        (["P", "L", "F"], ""),
        (["XX", "F"], ""),
        (None, ""),
    ],
)
def test_reading(value, expected):
    header = Dataset()
    if value is not None:
        header.PatientOrientation = value
    assert read_patient_orientation(header) == expected


# Row direction, then column direction. Standard hanging first, then rotated by 180 degrees, then mirrored.
@pytest.mark.parametrize(
    ("orientation", "laterality", "turn"),
    [
        ("A\\FR", "L", Turn()),
        ("P\\FL", "R", Turn(flip_x=True)),
        ("P\\HL", "L", Turn(flip_x=True, flip_y=True)),
        ("A\\HR", "R", Turn(flip_y=True)),
        ("A\\R", "L", Turn()),
        ("P\\L", "R", Turn(flip_x=True)),
        ("P\\L", "L", Turn(flip_x=True, flip_y=True)),
        ("A\\R", "R", Turn(flip_y=True)),
        ("P\\L", "", Turn(flip_x=True)),
        ("R\\P", "L", Turn(transpose=True, flip_x=True)),
        ("F\\A", "L", Turn(transpose=True)),
        ("L\\F", "L", None),
        ("", "L", None),
    ],
)
def test_turn(orientation, laterality, turn):
    assert turn_of_orientation(orientation, laterality) == turn


LETTERS = {"A": "P", "P": "A", "R": "L", "L": "R", "H": "F", "F": "H"}


@pytest.mark.parametrize("view", ["CC", "MLO"])
@pytest.mark.parametrize("side", ["L", "R"])
@pytest.mark.parametrize("stored", ["", "x", "y", "xy", "t", "tx", "ty", "txy"])
def test_every_stored_orientation_becomes_the_standard_hanging_of_a_left_breast(view, side, stored):
    """An image with known corners is stored in each of the eight orientations, with the matching letters."""
    up = {"CC": side, "MLO": "H"}[view]  # the direction at the top: the lateral side or the head
    hung = torch.tensor([[1.0, 2.0], [3.0, 4.0]])  # chest wall on the left, `up` at the top
    way = Turn("t" in stored, "x" in stored, "y" in stored)
    rows, columns = "A", LETTERS[up]
    if way.transpose:
        rows, columns = columns, rows
    rows, columns = LETTERS[rows] if way.flip_x else rows, LETTERS[columns] if way.flip_y else columns
    turn = turn_of_orientation(f"{rows}\\{columns}", side)
    np.testing.assert_array_equal(turn.apply(way.apply(hung)), hung)
