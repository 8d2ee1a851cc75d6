"""Masks lie where they belong on the source, whatever was padded, scaled, cropped, turned or mirrored on the way in.

The network is replaced by one that always finds the same mask, planted in network pixels. Where it belongs on the
source is computed by hand or follows from symmetry; the Segmentations are read back with highdicom and pydicom.
"""

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from mtmedformer_monai.deploy.inputs import find_inputs
from mtmedformer_monai.deploy.study_runner import RunnerOptions, StudyRunner
from tests.deploy.conftest import CHEST, MAMMOGRAPHY


@pytest.fixture
def masks_of(plant, tmp_path):
    """Runs a bundle with a planted mask on one file; returns the mask in its Segmentation and the image's result."""

    def run(bundle, task, planted, path):
        options = RunnerOptions(bundle, tmp_path / "out", "cpu")
        runner = StudyRunner(options, model=plant(bundle, task, planted))
        study = find_inputs([path])[0][0]
        image = runner.process(study).result.images[0]
        written = tmp_path / "out" / study.folder / image.files["seg"]
        source = pydicom.dcmread(path)
        read = highdicom.seg.segread(written).get_pixels_by_source_instance([source.SOPInstanceUID])[0]
        labels = [str(segment.SegmentLabel) for segment in pydicom.dcmread(written).SegmentSequence]
        frames = pydicom.dcmread(written).pixel_array.reshape(len(labels), source.Rows, source.Columns)
        index = labels.index(task)  # in both bundles, the structure is named as its task
        np.testing.assert_array_equal(read[..., index], frames[index])
        return frames[index].astype(bool), image

    return run


def box_mask(size, rows, columns):
    mask = np.zeros(size, dtype=bool)
    mask[rows, columns] = True
    return mask


PLANTED = box_mask((128, 128), slice(40, 60), slice(48, 56))
CHEST_CASES = {  # source size: rows and columns of the planted box on it, by hand from scale and padding
    (128, 128): (slice(40, 60), slice(48, 56)),
    (256, 256): (slice(80, 120), slice(96, 112)),
    (256, 128): (slice(80, 120), slice(32, 48)),  # 64 columns remain, padded by 32 on each side
    (128, 256): (slice(16, 56), slice(96, 112)),  # 64 rows remain, padded by 32 on each side
    (64, 64): (slice(20, 30), slice(24, 28)),
}


@pytest.mark.parametrize(("size", "expected"), CHEST_CASES.items(), ids=str)
def test_scaling_and_padding_are_undone_exactly(make_dicom, masks_of, size, expected):
    path = make_dicom(
        rows=size[0],
        columns=size[1],
        BodyPartExamined="CHEST",
        ViewPosition="PA",
        ImagerPixelSpacing=[0.25, 0.25],
    )
    mask, image = masks_of(CHEST, "lung", PLANTED, path)
    np.testing.assert_array_equal(mask, box_mask(size, *expected))
    lung = image.segmentations["lung"][0]
    assert lung.area_px == mask.sum()
    assert lung.area_mm2 == pytest.approx(mask.sum() * 0.0625)
    assert image.size == size


def test_rows_that_are_twice_as_far_apart_as_columns_are_stretched_and_return(make_dicom, masks_of):
    places = {"BodyPartExamined": "CHEST", "ViewPosition": "PA"}
    path = make_dicom(rows=64, columns=128, ImagerPixelSpacing=[0.5, 0.25], **places)  # 32 mm x 32 mm fill the canvas
    mask, image = masks_of(CHEST, "lung", PLANTED, path)
    np.testing.assert_array_equal(mask, box_mask((64, 128), slice(20, 30), slice(48, 56)))
    assert image.segmentations["lung"][0].area_mm2 == pytest.approx(10 * 8 * 0.125)


TURNS = {  # turn of the stored pixels: direction of rows and of columns, for a left MLO stored as A, F
    "as it is": (lambda pixels: pixels, ["A", "F"]),
    "mirrored": (lambda pixels: pixels[:, ::-1], ["P", "F"]),
    "upside down": (lambda pixels: pixels[::-1], ["A", "H"]),
    "turned by 180 degrees": (lambda pixels: pixels[::-1, ::-1], ["P", "H"]),
    "transposed": (lambda pixels: pixels.T, ["F", "A"]),
    "turned by 90 degrees": (lambda pixels: pixels[::-1].T, ["H", "A"]),
    "turned by 270 degrees": (lambda pixels: pixels[:, ::-1].T, ["F", "P"]),
}


@pytest.fixture
def left_mlo(cohorts):
    """A left MLO mammogram that is stored with the chest wall on the left and the head at the top."""
    return next(path for path in sorted(cohorts("mammography").iterdir()) if path.stem.endswith("L_MLO"))


def store(path, turn, orientation, folder):
    """Writes a copy of a mammogram whose pixels are turned; its Patient Orientation says so."""
    data = pydicom.dcmread(path)
    standard = list(data.PatientOrientation)
    assert [letters[0] for letters in standard] == ["A", "F"], standard
    pixels = np.ascontiguousarray(turn(data.pixel_array))
    data.decompress()
    data.Rows, data.Columns = pixels.shape
    data.PixelData, data.PatientOrientation = pixels.tobytes(), orientation
    data["PixelData"].VR = "OW"
    target = Path(folder) / "turned.dcm"
    data.save_as(target)
    return target


ASYMMETRIC = box_mask((192, 128), slice(30, 90), slice(10, 50)) | box_mask((192, 128), slice(60, 120), slice(20, 30))


@pytest.mark.parametrize("name", TURNS)
def test_turning_the_source_turns_the_mask(left_mlo, masks_of, tmp_path, name):
    turn, orientation = TURNS[name]
    upright, _ = masks_of(MAMMOGRAPHY, "lesion", ASYMMETRIC, store(left_mlo, *TURNS["as it is"], tmp_path))
    assert 0 < upright.sum() < upright.size / 2
    mask, _ = masks_of(MAMMOGRAPHY, "lesion", ASYMMETRIC, store(left_mlo, turn, orientation, tmp_path))
    differing = np.count_nonzero(mask != turn(upright))
    assert differing <= 0.01 * upright.sum()  # the breast may be found a pixel larger when it is turned


def test_the_crop_of_the_breast_is_undone(left_mlo, masks_of, models, tmp_path):
    """A mask of the whole canvas covers, on the source, exactly what was cropped: the breast and no other half."""
    path = store(left_mlo, *TURNS["as it is"], tmp_path)
    mask, _ = masks_of(MAMMOGRAPHY, "lesion", np.ones((192, 128), dtype=bool), path)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert box.all()
    pixels = pydicom.dcmread(path).pixel_array.astype(float)
    bright = pixels > pixels.min() + 0.3 * np.ptp(pixels)
    assert (mask & bright).sum() > 0.95 * bright[:, : bright.shape[1] // 2].sum()
    assert columns[0] == 0
    assert mask.sum() < 0.9 * mask.size
