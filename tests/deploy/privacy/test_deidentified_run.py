"""`mtmedformer infer --deidentify`: planted identifiers appear in no output, name, log line or tracked run."""

import contextlib
import logging
import shutil
import zlib
from copy import deepcopy

import numpy as np
import pydicom
import pytest
from PIL import Image, PngImagePlugin
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from mtmedformer_monai.cli.main import main
from mtmedformer_monai.deploy.inputs import InputFile
from mtmedformer_monai.deploy.predict import predict_image
from mtmedformer_monai.deploy.results_file import read_results
from tests.deploy.conftest import CHEST, MAMMOGRAPHY

SECRET = "Zyxquel"
TEXT_VRS = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}
NEEDED = {  # without these, the file is no radiograph of a chest
    "SpecificCharacterSet", "Modality", "PhotometricInterpretation", "BodyPartExamined", "BurnedInAnnotation",
}  # fmt: skip


def text_elements():
    """Keywords and VRs of all text attributes in pydicom's dictionary of the standard."""
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
        group = tag >> 16
        if vr in TEXT_VRS and keyword and not retired and 0x0008 <= group < 0x7FE0 and keyword not in NEEDED:
            yield keyword, vr


def value_of(vr):
    return f"{SECRET}^Jane" if vr == "PN" else SECRET.upper() if vr in {"CS", "AE"} else SECRET


def plant(path, nested=True):
    """Plants the identifier in every text attribute, in nested sequences, private elements, and dates."""
    data = pydicom.dcmread(path)
    for keyword, vr in text_elements():
        if keyword not in data:
            setattr(data, keyword, value_of(vr))
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = SECRET, SECRET, SECRET
    item.PatientName = f"{SECRET}^Jane"
    item.ViewModifierCodeSequence = Sequence([deepcopy(item)])
    for keyword in (
        "ViewCodeSequence",
        "RequestAttributesSequence",
        "ReferencedStudySequence",
        "AnatomicRegionSequence",
        "OtherPatientIDsSequence",
        "IssuerOfAccessionNumberSequence",
        "IssuerOfPatientIDQualifiersSequence",
    ):
        setattr(data, keyword, Sequence([deepcopy(item)]))
    data.WindowCenterWidthExplanation, data.PatientBirthDate, data.StudyDate = SECRET, "19310203", "19310203"
    block = data.private_block(0x0009, SECRET, create=True)
    block.add_new(1, "LO", SECRET)
    block.add_new(2, "UN", SECRET.encode())
    block.add_new(3, "SQ", [deepcopy(item)])
    data.add_new(0x60000022, "LO", SECRET)
    data.file_meta.SourceApplicationEntityTitle = data.file_meta.SendingApplicationEntityTitle = SECRET
    data.preamble = SECRET.encode().ljust(128, b"\0")
    data.save_as(path)


@pytest.fixture
def planted(make_dicom, tmp_path):
    """A folder of two images of one study and a picture, all full of identifiers."""
    folder = tmp_path / "in" / f"{SECRET}_Jane"
    folder.mkdir(parents=True)
    for number in (1, 2):
        path = make_dicom(
            name=f"in/{SECRET}_Jane/{SECRET}_{number}.dcm", rows=64, columns=48, BodyPartExamined="CHEST",
            ViewPosition="PA", PixelSpacing=[0.5, 0.5], BurnedInAnnotation="NO",
            StudyInstanceUID="1.2.3.19310203.1", SeriesInstanceUID="1.2.3.19310203.2",
            SOPInstanceUID=f"1.2.3.19310203.3{number}",
        )  # fmt: skip
        plant(path)
    facts = PngImagePlugin.PngInfo()
    facts.add_text("Patient", SECRET)
    pixels = np.uint8(np.random.default_rng(0).integers(0, 255, (40, 60)))
    Image.fromarray(pixels).save(folder / f"{SECRET}.png", pnginfo=facts)
    shutil.copy(folder / f"{SECRET}_1.dcm", folder / f"{SECRET}_1_again.dcm")
    (folder / f"{SECRET}_broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + SECRET.encode() * 9)
    (folder / f"{SECRET}_lost").symlink_to(folder / "nowhere")
    (folder / f"{SECRET}.zip").write_bytes(b"PK")
    return tmp_path / "in"


def infer(planted, output, *more):
    arguments = ["infer", "--bundle", CHEST, "--input", planted, "--output", output, "--device", "cpu", "--deidentify"]
    return main([*map(str, arguments), *map(str, more)])


def contents(path):
    """The bytes of a file, and of its compressed parts."""
    data = path.read_bytes()
    yield data
    if path.suffix == ".png":
        picture = Image.open(path)
        picture.load()
        yield repr(picture.info).encode()
    start = data.find(b"x\x9c")
    while start >= 0:
        with contextlib.suppress(zlib.error):
            yield zlib.decompressobj().decompress(data[start:])
        start = data.find(b"x\x9c", start + 1)


def find_secrets(folder):
    needles = [SECRET.lower().encode(), b"19310203"]
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix().lower().encode()
        texts = [name, *(text.lower() for text in (contents(path) if path.is_file() else ()))]
        if any(needle in text for needle in needles for text in texts):
            yield path


def test_no_identifier_is_in_any_output_name_or_log(planted, tmp_path, caplog, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    assert list(find_secrets(planted))  # the search finds what is planted
    code = infer(planted, tmp_path / "out", "--also", "gsps", "cad_sr")
    assert code == 3  # the broken file and the duplicate
    result = read_results(tmp_path / "out" / "results.json")
    assert len([image for study in result.studies for image in study.images]) == 3
    assert not list(find_secrets(tmp_path / "out"))
    assert not [path for path in tmp_path.iterdir() if path.name not in {"in", "out"}]  # nothing is tracked elsewhere
    said = capfd.readouterr()
    logged = "".join(record.getMessage() + str(record.args) for record in caplog.records)
    for text in (said.out, said.err, logged):
        assert SECRET.lower() not in text.lower()
        assert "19310203" not in text


def test_results_refer_to_the_copies_and_equal_keys_give_equal_uids(planted, tmp_path):
    (tmp_path / "key").write_text("0123456789abcdef0123456789abcdef")
    uids = []
    for name in ("one", "two"):
        infer(planted, tmp_path / name, tmp_path / "key")
        study = next(s for s in read_results(tmp_path / name / "results.json").studies if s.study_instance_uid)
        folder = tmp_path / name / study.folder
        found = []
        for image in study.images:
            copy = pydicom.dcmread(folder / image.files["image"])
            assert copy.SOPInstanceUID == image.sop_instance_uid
            assert copy.StudyInstanceUID == study.study_instance_uid == study.folder
            for kind in ("seg", "heat_map", "sr"):
                derived = pydicom.dcmread(folder / image.files[kind], stop_before_pixels=True)
                assert derived.StudyInstanceUID == copy.StudyInstanceUID
                assert (derived.PatientID, derived.PatientName) == (copy.PatientID, copy.PatientName)
                assert derived.PatientIdentityRemoved == "YES"
                assert str(copy.SOPInstanceUID) in str(derived)
            found += [copy.SOPInstanceUID, copy.SeriesInstanceUID, copy.PatientID]
        assert len(set(found)) == 4  # two images, one series, one patient
        uids.append(found)
    assert uids[0] == uids[1]
    infer(planted, tmp_path / "three")
    other = next(s for s in read_results(tmp_path / "three" / "results.json").studies if s.study_instance_uid)
    assert other.study_instance_uid not in uids[0]


def test_warnings_about_a_mammogram_name_its_number(models, tmp_path, caplog):
    path = tmp_path / f"{SECRET}.png"
    Image.new("L", (60, 80)).save(path)
    predict_image(models(MAMMOGRAPHY), InputFile(path, "image_000001.png", alias="image_000001"))
    assert "image_000001: the side of its chest wall cannot be determined" in caplog.text
    assert SECRET not in caplog.text


def test_burned_in_text_is_refused_and_silence_is_stated(make_dicom, tmp_path):
    (tmp_path / "in").mkdir()
    chest = {"rows": 64, "columns": 48, "BodyPartExamined": "CHEST", "ViewPosition": "PA"}
    make_dicom(name="in/a.dcm", BurnedInAnnotation="YES", SOPInstanceUID="1.2.1", **chest)
    make_dicom(name="in/b.dcm", SOPInstanceUID="1.2.2", **chest)
    assert infer(tmp_path / "in", tmp_path / "out") == 3
    result = read_results(tmp_path / "out" / "results.json")
    assert [(each.source, each.rule) for each in result.refused] == [("image_000001.dcm", "burned_in")]
    (image,) = result.studies[0].images
    assert "Burned In Annotation is not stated" in image.notes[0]
    assert [path.name for path in (tmp_path / "out").rglob("images/*")] == ["image_000002.dcm"]


def test_a_short_key_is_an_error(planted, tmp_path, caplog):
    (tmp_path / "key").write_text("short")
    assert infer(planted, tmp_path / "out", tmp_path / "key") == 2
    assert "expects 16 bytes or more, got 5" in caplog.text
