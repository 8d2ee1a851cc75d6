"""What `infer` writes by --outputs and --uncertainty."""

import json
import math

import highdicom
import numpy as np
import pydicom
import pytest

from mtmedformer_monai.cli.main import main
from mtmedformer_monai.deploy import study_runner
from mtmedformer_monai.deploy.inputs import find_inputs
from tests.deploy.conftest import CHEST

HEADER = {"rows": 64, "columns": 48, "BodyPartExamined": "CHEST", "ViewPosition": "PA"}


@pytest.fixture
def process(make_dicom, models, tmp_path):
    """Processes one chest radiograph with the given outputs; returns its result and the study's folder."""

    def run(*outputs):
        path = make_dicom(name="in.dcm", **HEADER)
        options = study_runner.RunnerOptions(CHEST, tmp_path / "out", "cpu", outputs=outputs)
        runner = study_runner.StudyRunner(options, model=models(CHEST))
        study = runner.process(find_inputs([path])[0][0]).result
        return study.images[0], tmp_path / "out" / study.folder

    return run


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ((), set()),
        (("sr",), {"sr"}),
        (("maps",), {"heat_map"}),
        (("seg", "gsps"), {"seg", "gsps"}),
        (("report", "overlay"), {"report_layers", "overlay"}),
    ],
    ids=["none", "sr", "maps", "seg and gsps", "report and overlay"],
)
def test_only_the_outputs_that_are_asked_for_are_written(process, outputs, expected):
    image, folder = process(*outputs)
    assert set(image.files) == expected
    written = {path.name.removeprefix(f"{image.name}_").split(".")[0] for path in folder.glob("*")}
    assert written == {"report" if kind == "report_layers" else kind for kind in expected}
    assert image.segmentations["lung"]  # results do not depend on the files


def test_an_unknown_output_is_refused(tmp_path):
    with pytest.raises(ValueError, match="seg, maps, overlay, sr, report, gsps, cad_sr, got png"):
        study_runner.chosen(study_runner.IMAGE_WRITERS, ("png",))


def test_a_structure_has_one_tracking_uid_in_all_objects(process):
    image, folder = process("seg", "maps", "sr")
    report = highdicom.sr.srread(folder / image.files["sr"])
    groups = {each.tracking_identifier: each for each in report.content.get_planar_roi_measurement_groups()}
    for kind in ("seg", "heat_map"):
        for segment in pydicom.dcmread(folder / image.files[kind]).SegmentSequence:
            assert groups[segment.TrackingID].tracking_uid == segment.TrackingUID


def test_one_option_estimates_uncertainty(make_dicom, tmp_path):
    path = make_dicom(name="in.dcm", **HEADER)
    output = tmp_path / "out"
    arguments = ["infer", "--bundle", CHEST, "--input", path, "--output", output, "--device", "cpu", "--uncertainty"]
    assert main([*map(str, arguments), "--outputs", "maps", "sr"]) == 0
    study = json.loads((output / "results.json").read_text())["studies"][0]
    image = study["images"][0]
    entropy = image["classes"]["finding"]["uncertainty"]["entropy"]
    assert 0.0 <= entropy <= math.log(2) + 1e-6
    assert 0.0 <= image["segmentations"]["lung"][0]["uncertainty"]["disagreement"] <= 1.0
    maps = highdicom.seg.segread(output / study["folder"] / image["files"]["uncertainty"])
    labels = [segment.SegmentLabel for segment in maps.SegmentSequence]
    assert {"lung, entropy", "lung, mutual information", "lung, std"} <= set(labels)
    assert np.ptp(maps.pixel_array[labels.index("lung, std")]) > 0
    assert not (output / "report.html").exists()


def test_a_bundle_without_a_configuration_of_uncertainty_is_refused(tmp_path, caplog):
    arguments = ["infer", "--bundle", tmp_path, "--input", tmp_path, "--output", tmp_path / "out", "--uncertainty"]
    assert main([*map(str, arguments)]) == 2
    assert "--uncertainty expects configs/uncertainty.json" in caplog.text
