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
        ("CC", ""),  # CBIS-DDSM keeps the view there
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


# Rows run toward the first, columns toward the second. Standard hanging first, then turned by 180 degrees, mirrored.
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
def test_however_it_is_stored_it_comes_out_as_a_left_breast_hangs(view, side, stored):
    """A picture whose corners are known is laid in each of eight ways, and its letters with it."""
    up = {"CC": side, "MLO": "H"}[view]  # the lateral side, or the head
    hung = torch.tensor([[1.0, 2.0], [3.0, 4.0]])  # left: chest wall, top: up
    way = Turn("t" in stored, "x" in stored, "y" in stored)
    rows, columns = "A", LETTERS[up]
    if way.transpose:
        rows, columns = columns, rows
    rows, columns = LETTERS[rows] if way.flip_x else rows, LETTERS[columns] if way.flip_y else columns
    turn = turn_of_orientation(f"{rows}\\{columns}", side)
    np.testing.assert_array_equal(turn.apply(way.apply(hung)), hung)
