"""`mtmedformer infer --explain` and `--guard`: what becomes of them in the outputs."""

import numpy as np
import pydicom
import pytest

from mtmedformer_monai.cli.main import main
from mtmedformer_monai.deploy.results_file import read_results
from tests.deploy.conftest import CHEST


@pytest.fixture
def infer(tmp_path):
    def call(folder, *more):
        output = tmp_path / "out"
        arguments = ["infer", "--bundle", CHEST, "--input", folder, "--output", output, "--device", "cpu", *more]
        return main([*map(str, arguments)]), output, read_results(output / "results.json")

    return call


def test_explanations_are_fractional_segments_of_the_predicted_classes(cohorts, infer):
    first = sorted(cohorts("chest").glob("*.dcm"))[0]
    code, output, results = infer(first, "--explain")
    (image,) = results.studies[0].images
    assert code == 0
    path = output / results.studies[0].folder / image.files["explanation"]
    found, source = pydicom.dcmread(path), pydicom.dcmread(first)
    assert (found.Modality, found.SegmentationType) == ("SEG", "FRACTIONAL")
    assert (found.Rows, found.Columns) == (source.Rows, source.Columns)
    explained = {f"{task}, {name}" for task, each in image.classes.items() for name in each.predicted}
    assert {segment.SegmentLabel for segment in found.SegmentSequence} == explained
    assert any(label.startswith("finding, ") for label in explained)
    frames = found.pixel_array.reshape(-1, source.Rows, source.Columns)
    assert frames.max() > 0
    assert frames.reshape(len(frames), -1).std(axis=1).min() > 0  # no map is the same everywhere
    assert str(source.SOPInstanceUID) in str(found)


@pytest.mark.parametrize(("guard", "code"), [("refuse", 3), ("flag", 0), ("off", 0)])
def test_noise_with_the_header_of_a_chest_radiograph(make_dicom, tmp_path, infer, guard, code):
    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(0).integers(0, 2**12, (96, 96), dtype=np.uint16)
    make_dicom(pixels, name="in/a.dcm", BodyPartExamined="CHEST", ViewPosition="PA", SOPInstanceUID="1.2.3.4")
    ended, output, results = infer(tmp_path / "in", "--guard", guard)
    assert ended == code
    if guard == "refuse":
        (refused,) = results.refused
        assert refused.rule == "guard"
        assert "unlike the training images" in refused.reason
        assert not list(output.rglob("*.dcm"))
        assert not [image for study in results.studies for image in study.images]
        return
    (image,) = results.studies[0].images
    assert not results.refused
    assert any("unlike the training images" in flag for flag in image.flags) == (guard == "flag")
