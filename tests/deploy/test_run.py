"""`mtmedformer infer`: results, refusals, exit codes, and what must not be in the output."""

import errno
import json
import shutil
from dataclasses import replace

import jsonschema
import numpy as np
import pydicom
import pytest
from PIL import Image

from mtmedformer_monai.cli.main import main
from mtmedformer_monai.deploy import run, study_runner
from mtmedformer_monai.deploy.bundle_model import describe_provenance
from mtmedformer_monai.deploy.headers.uids import model_sha256
from mtmedformer_monai.deploy.results_file import read_results
from tests.data.synthetic.dicom.validator import validate
from tests.deploy.conftest import CHEST, MAMMOGRAPHY, ROOT
from tests.deploy.crash import crash_for_patient

UID = "1.2.826.0.1.3680043.8.498"
CHEST_PA = {"rows": 64, "columns": 48, "BodyPartExamined": "CHEST", "ViewPosition": "PA", "PixelSpacing": [0.5, 0.5]}


@pytest.fixture
def infer(tmp_path):
    """Runs the command on the folder `in` of the test; returns the exit code and the output folder."""

    def call(*more, bundle=CHEST, given=None):
        output = tmp_path / "out"
        arguments = ["infer", "--bundle", bundle, "--input", given or tmp_path / "in", "--output", output]
        return main([*map(str, arguments), "--device", "cpu", *more]), output

    return call


@pytest.fixture
def make_chest(make_dicom, tmp_path):
    """Writes a chest radiograph of study N to the folder `in`."""
    (tmp_path / "in").mkdir()

    def make(name, study=1, **elements):
        uids = {"StudyInstanceUID": f"{UID}.1.{study}", "SOPInstanceUID": f"{UID}.2.{abs(hash_of(name))}"}
        return make_dicom(name=f"in/{name}", **CHEST_PA | uids | elements)

    return make


def hash_of(name):
    return sum((index + 1) * ord(letter) for index, letter in enumerate(name))


def test_a_study_gets_a_folder_with_valid_files_and_results_follow_the_schema(make_chest, infer):
    make_chest("a.dcm")
    make_chest("b.dcm")
    code, output = infer()
    assert code == 0
    content = json.loads((output / "results.json").read_text())
    jsonschema.validate(content, json.loads((ROOT / "docs/results_schema.json").read_text()))
    (study,) = read_results(output / "results.json").studies
    assert study.folder == f"{UID}.1.1"
    assert [image.source for image in study.images] == ["a.dcm", "b.dcm"]
    for image in study.images:
        assert set(image.files) == {"heat_map", "overlay", "report_layers", "seg", "sr"}
        assert validate(output / study.folder / image.files["seg"])[1] == []
        assert validate(output / study.folder / image.files["heat_map"])[1] == []
        with Image.open(output / study.folder / image.files["overlay"]) as overlay:
            assert overlay.width > 48
        assert set(image.classes) == {"finding", "pneumonia_type"}
        assert sum(image.classes["finding"].probabilities.values()) == pytest.approx(1, abs=1e-5)
        lung = image.segmentations["lung"][0]
        mask = pydicom.dcmread(output / study.folder / image.files["seg"]).pixel_array[0]
        assert lung.area_px == mask.sum()
        assert lung.area_mm2 == pytest.approx(mask.sum() / 4)


def test_the_results_state_bundle_and_weights(make_chest, infer):
    import hashlib

    make_chest("a.dcm")
    provenance = read_results(infer()[1] / "results.json").provenance
    assert provenance.weights_sha256 == hashlib.sha256((CHEST / "models/model.pt").read_bytes()).hexdigest()
    assert (provenance.bundle_name, provenance.device) == ("Chest X-ray multi-task", "cpu")


@pytest.mark.parametrize(
    "name",
    [
        "configs/other.json",
        "models/calibration.json",
        "models/guard.pt",
        "models/posterior.pt",
        "study_models/model.pt",
    ],
)
def test_results_have_other_identifiers_if_anything_that_determines_them_changes(tmp_path, name):
    """Else an archive would keep the objects of before, as of a calibration that was fitted anew."""
    bundle, hashes = tmp_path / "bundle", []
    shutil.copytree(CHEST / "configs", bundle / "configs")
    (bundle / "models").mkdir()
    (bundle / "models/model.pt").write_bytes(b"weights")
    for content in (None, b"1", b"2"):
        if content is not None:
            (bundle / name).parent.mkdir(exist_ok=True)
            (bundle / name).write_bytes(content)
        hashes.append(model_sha256(describe_provenance(bundle)))
    assert len(set(hashes)) == 3


def test_files_that_cannot_be_used_are_listed_and_the_rest_is_processed(make_chest, infer, tmp_path, caplog):
    make_chest("good.dcm")
    make_chest("hip.dcm", BodyPartExamined="HIP")
    make_chest("mammogram.dcm", modality="MG")
    make_chest("cut.dcm").write_bytes(make_chest("cut.dcm").read_bytes()[:-2000])
    (tmp_path / "in" / "broken.dcm").write_bytes(b"\0" * 200)
    code, output = infer()
    result = read_results(output / "results.json")
    assert code == 3
    (study,) = result.studies
    assert [image.source for image in study.images] == ["good.dcm"]
    assert study.num_refused == 3  # nobody knows the study of a file whose header cannot be read
    assert {refusal.source: refusal.rule for refusal in result.refused} == {
        "hip.dcm": "other_anatomy",
        "mammogram.dcm": "UnsupportedModalityError",
        "cut.dcm": "BrokenPixelDataError",
        "broken.dcm": "UnreadableFileError",
    }
    assert "refused hip.dcm (other_anatomy)" in caplog.text


def test_a_picture_has_no_dicom_output_and_says_so(infer, tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(np.uint8(np.random.default_rng(0).integers(0, 255, (40, 60)))).save(tmp_path / "in" / "x.png")
    code, output = infer()
    (image,) = read_results(output / "results.json").studies[0].images
    assert code == 0
    assert (image.size, image.spacing_mm, image.sop_instance_uid) == ((40, 60), None, None)
    assert image.segmentations["lung"][0].area_mm2 is None
    assert image.notes == ("No DICOM output, because the source is not DICOM.",)
    assert set(image.files) == {"overlay", "report_layers"}
    assert list(output.rglob("*.dcm")) == []


def test_a_nifti_file_is_processed(infer, tmp_path):
    import nibabel

    (tmp_path / "in").mkdir()
    values = np.random.default_rng(0).random((60, 40)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([0.5, 0.5, 1, 1])), tmp_path / "in" / "x.nii.gz")
    code, output = infer()
    assert code == 0
    assert len(read_results(output / "results.json").studies) == 1


def test_a_second_run_replaces_its_results_and_reads_none_of_them(make_chest, infer, tmp_path):
    make_chest("a.dcm")
    _, output = infer()
    before = {path.relative_to(output) for path in output.rglob("*")}
    first = read_results(output / "results.json").studies
    code, _ = infer(given=tmp_path)  # the folder above, which has the results of the first run
    assert code == 0
    assert {path.relative_to(output) for path in output.rglob("*")} == before
    (image,) = read_results(output / "results.json").studies[0].images
    assert replace(image, source="a.dcm") == first[0].images[0]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["--x; rm -rf $HOME.dcm", "=cmd().dcm", "a\nb.dcm", "x..dcm", "\udcff.dcm", "é .dcm"])
def test_hostile_names_and_views_stay_inside_the_output_folder(make_chest, infer, tmp_path, name):
    make_chest("a.dcm", ViewPosition="../../PA").rename(tmp_path / "in" / name)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    code, output = infer()
    assert code == 0
    assert read_results(output / "results.json").studies[0].images[0].source == name
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert written
    assert all(output in path.parents and path.name.isascii() and path.name.isprintable() for path in written)
    assert not [line for line in (output / "results.csv").read_text().split(",") if line.startswith(("=", "--"))]


def test_no_attribute_of_the_patient_is_in_text_outputs_or_logs(make_chest, infer, capfd, caplog):
    secrets = ("Doe", "Jane", "MRN-4711", "19610203", "Smith", "A-4812", "Hospital of", "Remark")
    make_chest(
        "a.dcm",
        PatientBirthDate="19610203",
        ReferringPhysicianName="Smith^Adam",
        AccessionNumber="A-4812",
        InstitutionName="Hospital of X",
        PatientComments="Remark",
    )
    make_chest("b.dcm", BodyPartExamined="HIP")
    _, output = infer()
    said = capfd.readouterr()
    texts = [said.out, said.err, caplog.text]
    texts += [
        path.read_bytes().decode("latin-1") for path in output.rglob("*.*") if path.suffix in {".json", ".csv", ".png"}
    ]
    assert not [secret for secret in secrets for text in texts if secret in text]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "missing"], "missing"),
        (["--bundle", "missing"], "--bundle"),
        (["--device", "cuda:99"], "cuda:99 is not available"),
        (["--device", "__import__('os')"], "--device expects"),
        (["--workers", "0"], "--workers expects 1 or more"),
        (["--weights", "missing.pt"], "missing.pt"),
        (["--config", "missing.json"], "missing.json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_misuse_ends_with_code_2_and_a_remedy(make_chest, infer, caplog, arguments, message):
    make_chest("a.dcm")
    code, output = infer(*arguments)
    assert code == 2
    assert message in caplog.text
    assert not (output / "results.json").exists()


def test_an_output_that_is_a_file_is_refused(make_chest, infer, tmp_path, caplog):
    make_chest("a.dcm")
    (tmp_path / "out").write_text("a file")
    assert infer()[0] == 2
    assert "--output expects a folder" in caplog.text
    assert (tmp_path / "out").read_text() == "a file"


def test_a_full_disk_ends_the_run_with_an_error(make_chest, infer, monkeypatch, caplog):
    def fill(image, source, provenance, folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    make_chest("a.dcm")
    monkeypatch.setattr(study_runner.StudyRunner.__init__, "__defaults__", ((fill,), (), None))
    code, output = infer()
    assert code == 2
    assert "No space left on device" in caplog.text
    assert "free space" in caplog.text
    assert not (output / "results.json").exists()


def test_an_image_on_which_the_network_fails_is_refused_alone(make_chest, models, tmp_path):
    """Such as by half precision that overflows."""
    model, calls = models(CHEST), []

    def infer(image, network):
        outputs = model.inferer(image, network)
        calls.append(1)
        return outputs | {"finding": outputs["finding"] * (float("nan") if len(calls) == 1 else 1.0)}

    make_chest("a.dcm", study=1)
    make_chest("b.dcm", study=1)
    options = study_runner.RunnerOptions(CHEST, tmp_path / "out")
    runner = study_runner.StudyRunner(options, (), (), replace(model, inferer=infer))
    outcome = runner.process(run.find_inputs([tmp_path / "in"])[0][0])
    assert [(refusal.source, refusal.rule) for refusal in outcome.refused] == [("a.dcm", "NetworkFailedError")]
    assert "output of finding has numbers that are not finite" in outcome.refused[0].reason
    assert [
        image.source.path if hasattr(image.source, "path") else image.source for image in outcome.result.images
    ] == ["b.dcm"]


def test_a_study_whose_uid_is_none_is_noted_with_the_remedy(make_chest, infer):
    make_chest("a.dcm", StudyInstanceUID="study 7")
    code, output = infer()
    assert code == 3
    (study,) = read_results(output / "results.json").studies
    notes = " ".join((*study.notes, *study.images[0].notes))
    assert "UID of the source expects numbers separated by points" in notes
    assert "correct the source's header" in notes


def test_a_writer_that_fails_on_one_image_is_noted(make_chest, models, tmp_path):
    make_chest("a.dcm", study=1)
    make_chest("b.dcm", study=1)

    def fail(image, source, provenance, folder):
        if image.source == "a.dcm":
            raise KeyError("Doe^Jane")
        return {"extra": "x"}

    runner = study_runner.StudyRunner(
        study_runner.RunnerOptions(CHEST, tmp_path / "out"), image_writers=(fail,), model=models(CHEST)
    )
    outcome = runner.process(run.find_inputs([tmp_path / "in"])[0][0])
    first, second = outcome.result.images
    assert first.notes == ("An output could not be written (KeyError).",)
    assert (dict(first.files), dict(second.files)) == ({}, {"extra": "x"})
    assert [(refusal.source, refusal.rule) for refusal in outcome.refused] == [("a.dcm", "fail")]


@pytest.fixture
def options(tmp_path):
    runner = study_runner.RunnerOptions(CHEST, tmp_path / "out", "cpu", prepare_header=crash_for_patient)
    return run.InferOptions(runner, (tmp_path / "in",), workers=2)


def test_a_process_that_dies_costs_only_its_file(make_chest, options):
    for index, patient in enumerate(["one", "crash", "fail"]):
        make_chest(f"{index}.dcm", study=index + 1, PatientID=patient)
    seen = []
    result = run.infer(options, on_study=lambda outcome: seen.append(outcome))
    assert [study.images[0].source for study in result.studies] == ["0.dcm"]
    assert {refusal.source: refusal.rule for refusal in result.refused} == {"1.dcm": "crash", "2.dcm": "unexpected"}
    assert "Doe" not in str(result.refused)
    assert len(seen) == 3


def test_several_processes_give_the_results_of_one(make_chest, options, tmp_path):
    for index in range(2):
        make_chest(f"{index}.dcm", study=index + 1)
    several = run.infer(options)
    alone = run.infer(replace(options, workers=1))
    assert [study.folder for study in several.studies] == [study.folder for study in alone.studies]
    for one, other in zip(several.studies, alone.studies, strict=True):
        ours, theirs = one.images[0], other.images[0]
        assert ours.files == theirs.files
        assert dict(ours.classes["finding"].probabilities) == pytest.approx(
            dict(theirs.classes["finding"].probabilities), abs=1e-4
        )


def test_an_error_of_the_bundle_reaches_the_user_from_several_processes(make_chest, options, tmp_path):
    for index in range(2):
        make_chest(f"{index}.dcm", study=index + 1)
    other = MAMMOGRAPHY / "models/model.pt"
    with pytest.raises(ValueError, match="the weights"):
        run.infer(replace(options, runner=replace(options.runner, weights=other)))
