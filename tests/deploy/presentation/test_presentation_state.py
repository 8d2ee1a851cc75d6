from dataclasses import replace
from itertools import pairwise

import numpy as np
import pydicom
import pytest

from mtmedformer_monai.deploy.presentation.presentation_state import MAX_POINTS, presentation_state
from mtmedformer_monai.keys import NOTICE
from tests.data.synthetic.dicom.validator import validate, validate_together
from tests.deploy.sources import BOXES, COLUMNS, FULL, MODEL, ROWS, result_of, write_chest, write_mammogram


def masks():
    mask = np.zeros((2, ROWS, COLUMNS), bool)
    mask[0, 4:10, 2:7] = True
    return {"lung": mask}


def write(state, folder):
    state.save_as(folder / "gsps.dcm", enforce_file_format=True)
    read = pydicom.dcmread(folder / "gsps.dcm")
    return read, {item.GraphicLayer: item for item in read.GraphicAnnotationSequence}


def corners(graphic):
    return np.array(graphic.GraphicData).reshape(-1, 2)


def test_boxes_and_outlines_lie_where_they_belong(tmp_path):
    header = write_chest(tmp_path / "source.dcm")
    read, layers = write(presentation_state(result_of(header, **FULL), masks(), header, MODEL), tmp_path)
    boxes = [corners(graphic) for graphic in layers["BOXES"].GraphicObjectSequence]
    assert [(*box.min(axis=0), *box.max(axis=0)) for box in boxes] == [box.box for box in BOXES]
    outline = corners(layers["OUTLINES"].GraphicObjectSequence[0])
    assert (*outline.min(axis=0), *outline.max(axis=0)) == (2, 4, 7, 10)
    assert {graphic.GraphicAnnotationUnits for graphic in layers["BOXES"].GraphicObjectSequence} == {"PIXEL"}
    assert [text.UnformattedTextValue for text in layers["BOXES"].TextObjectSequence] == [
        "opacity 0.75",
        "opacity 0.25",
    ]
    assert layers["NOTICE"].TextObjectSequence[0].UnformattedTextValue == NOTICE
    reference = read.ReferencedSeriesSequence[0].ReferencedImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == header.SOPInstanceUID


@pytest.mark.parametrize(
    ("spacing", "ratio"), [((0.2, 0.1), [1000000, 500000]), ((0.1, 0.1), [1, 1]), (None, [1, 1])], ids=str
)
def test_pixels_are_displayed_as_high_and_wide_as_they_are(tmp_path, spacing, ratio):
    header = write_chest(tmp_path / "source.dcm")
    found = replace(result_of(header, **FULL), spacing_mm=spacing)
    read, _ = write(presentation_state(found, masks(), header, MODEL), tmp_path)
    (area,) = read.DisplayedAreaSelectionSequence
    assert list(area.PresentationPixelAspectRatio) == ratio  # vertical, horizontal


def test_each_side_of_a_study_has_a_series(tmp_path):
    paths = []
    for side, view in (("R", "CC"), ("L", "CC"), ("L", "MLO")):
        header = write_mammogram(tmp_path / f"{side}_{view}.dcm", laterality=side, view=view)
        header.StudyInstanceUID = "1.2.3"
        paths.append(tmp_path / f"{side}_{view}_gsps.dcm")
        presentation_state(result_of(header, **FULL), {}, header, MODEL).save_as(paths[-1], enforce_file_format=True)
    series = [pydicom.dcmread(path).SeriesInstanceUID for path in paths]
    assert series[1] == series[2] != series[0]
    assert validate_together(*paths) == []


def test_boxes_beyond_the_image_are_clipped(tmp_path):
    header = write_chest(tmp_path / "source.dcm")
    beyond = {"box": (replace(BOXES[0], box=(-1.0, -1.0, 99.0, 99.0)),)}
    _, layers = write(presentation_state(result_of(header, boxes=beyond), {}, header, MODEL), tmp_path)
    assert corners(layers["BOXES"].GraphicObjectSequence[0]).max(axis=0).tolist() == [COLUMNS, ROWS]
    assert "OUTLINES" not in layers


def test_long_outlines_are_split_into_connected_parts(tmp_path):
    header = write_chest(tmp_path / "source.dcm", Rows=200, Columns=200)
    _, layers = write(presentation_state(result_of(header), {"lung": comb(200)}, header, MODEL), tmp_path)
    parts = [corners(graphic) for graphic in layers["OUTLINES"].GraphicObjectSequence]
    assert len(parts) > 1
    assert max(map(len, parts)) <= MAX_POINTS
    for before, after in pairwise(parts):
        assert (before[-1] == after[0]).all()
    assert (parts[0][0] == parts[-1][-1]).all()


def comb(size):
    """A shape whose outline has more corners than a graphic can have: steps of one pixel along every tooth."""
    mask = np.zeros((1, size, size), bool)
    mask[0, :, 0] = True
    mask[0, ::4] = True
    mask[0, 1::4, 1::2] = True
    return mask


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("modality", ["DX", "CR"])
def test_a_validator_finds_no_error_for_chest_radiographs(tmp_path, modality, photometric):
    header = write_chest(tmp_path / "source.dcm", modality, PhotometricInterpretation=photometric)
    state = presentation_state(result_of(header, **FULL), masks(), header, MODEL)
    read, _ = write(state, tmp_path)
    assert read.PresentationLUTShape == {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}[photometric]
    assert validate(tmp_path / "gsps.dcm") == ("GrayscaleSoftcopyPresentationState", [])


@pytest.mark.parametrize("number", range(4))
def test_a_validator_finds_no_error_for_mammograms(tmp_path, number):
    header = write_mammogram(tmp_path / "source.dcm", number)
    write(presentation_state(result_of(header, **FULL), masks(), header, MODEL), tmp_path)
    assert validate(tmp_path / "gsps.dcm") == ("GrayscaleSoftcopyPresentationState", [])


def test_a_color_image_is_rejected(tmp_path):
    header = write_chest(tmp_path / "source.dcm", SamplesPerPixel=3)
    with pytest.raises(ValueError, match="header expects a grayscale image, got a color image"):
        presentation_state(result_of(header), {}, header, MODEL)


def test_a_repeated_run_yields_the_same_identifiers(tmp_path):
    header = write_chest(tmp_path / "source.dcm")
    first, second = (presentation_state(result_of(header, **FULL), masks(), header, MODEL) for _ in range(2))
    assert first.SOPInstanceUID == second.SOPInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
