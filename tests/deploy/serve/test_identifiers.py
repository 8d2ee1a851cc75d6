"""A worker with de-identification: no identifier in any attribute of an image reaches what leaves the worker."""

from __future__ import annotations

import logging
from copy import deepcopy
from io import BytesIO

import pydicom
import pytest
import requests
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from mtmedformer_monai.deploy.privacy.deidentify import Deidentifier
from mtmedformer_monai.deploy.serve.bundle_model import load_model
from mtmedformer_monai.deploy.serve.config import DeidentifyConfig
from mtmedformer_monai.deploy.serve.service import open_service
from tests.deploy.privacy.test_deidentified_run import text_elements
from tests.deploy.serve.chest_images import uid, write_chest
from tests.deploy.serve.conftest import config_for, settle

KEY = b"0123456789abcdef"
SEQUENCES = ("ViewCodeSequence", "RequestAttributesSequence", "ReferencedStudySequence", "AnatomicRegionSequence")
OTHERS = {
    "PatientBirthDate": "19310203", "StudyDate": "19320304", "SeriesDate": "19330405", "AcquisitionTime": "010203.4567",
    "PatientWeight": "71.2345", "PatientSize": "1.68123", "PatientAge": "091Y", "PatientBirthTime": "030405.6789",
}  # fmt: skip
"""Identifying attributes that are no text."""


class Markers:
    """Words of which each occurs in one place only."""

    def __init__(self):
        self.places = {}

    def new(self, place, vr="LO"):
        word = f"ZQ{len(self.places):05d}"
        self.places[word.lower()] = place
        return f"{word}^Jane" if vr == "PN" else word

    def found_in(self, content):
        """The places whose marker is in a text, in any letter case and in the encodings of DICOM and JSON."""
        lowered = content.lower()
        return [place for word, place in self.places.items() if word.encode() in lowered]


def plant(path, markers):
    """Plants a marker into every text attribute of the standard, private elements, nested items and the preamble."""
    data = pydicom.dcmread(path)
    for keyword, vr in text_elements():
        if keyword not in data or data[keyword].VR in {"LO", "PN", "SH"}:
            setattr(data, keyword, markers.new(keyword, vr))
    for keyword in SEQUENCES:
        item = Dataset()
        for name in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning", "PatientID"):
            setattr(item, name, markers.new(f"{keyword}.{name}"))
        inner = deepcopy(item)
        inner.PatientName = markers.new(f"{keyword}.{keyword}.PatientName", "PN")
        item.ViewModifierCodeSequence = Sequence([inner])
        setattr(data, keyword, Sequence([item]))
    for keyword, value in OTHERS.items():
        setattr(data, keyword, value)
        markers.places[value.lower()] = keyword
    block = data.private_block(0x0009, markers.new("private creator"), create=True)
    block.add_new(1, "LO", markers.new("private LO"))
    block.add_new(2, "UN", markers.new("private UN").encode())
    item = Dataset()
    item.PatientComments = markers.new("private sequence")
    block.add_new(3, "SQ", [item])
    data.file_meta.SourceApplicationEntityTitle = markers.new("source AE")
    data.preamble = markers.new("preamble").encode().ljust(128, b"\0")
    data.save_as(path)


@pytest.fixture
def markers(orthanc, tmp_path):
    """Puts an image that is processed, and others that rules refuse, into the archive."""
    found = Markers()
    for number, elements in enumerate(({}, {"BodyPartExamined": "HIP"}, {"ViewPosition": "LL"}), 1):
        path = write_chest(tmp_path / "images", number, rows=64, BurnedInAnnotation="NO", **elements)
        plant(path, found)
        orthanc.send(path)
    return found


def contents(orthanc, service, folder):
    """{name: bytes} of all that the worker wrote or shows, but the originals that Orthanc holds."""
    address = f"http://127.0.0.1:{service.health_port}"
    texts = {name: requests.get(f"{address}/{name}", timeout=10).content for name in ("health", "metrics")}
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    stored = {}
    for number in orthanc.get("/instances"):
        data = orthanc.get_bytes(f"/instances/{number}/file")
        header = pydicom.dcmread(BytesIO(data), stop_before_pixels=True)
        if header.Modality in {"SEG", "SR", "PR"}:
            stored[f"{header.Modality} {number}"] = data
    return texts, files, stored


@pytest.mark.parametrize("uids", ["keep", "replace"])
def test_no_identifier_leaves_the_worker(orthanc, markers, tmp_path, uids, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    (tmp_path / "key").write_bytes(KEY)
    changes = {"deidentify": DeidentifyConfig(True, tmp_path / "key", uids)}
    config = config_for(orthanc, tmp_path / "worker", **changes)
    with open_service(config, load_model(config)) as service:
        settle(service, 3, 60.0)
        assert (service.state.counts()["stored"], service.state.counts()["refused"]) == (1, 2)
        texts, files, stored = contents(orthanc, service, config.folder)
    assert {name.split()[0] for name in stored} == {"SEG", "SR"}
    assert "state.sqlite" in files
    said = capfd.readouterr()
    logged = "".join(record.getMessage() for record in caplog.records)
    visible = "".join(record.getMessage() for record in caplog.records if record.levelno >= logging.INFO)
    for name, content in {**texts, **files, **stored, "log": (said.out + said.err + logged).encode()}.items():
        assert not markers.found_in(content), name
    originals = [uid(number, level).encode() for number in (1, 2, 3) for level in (1, 2, 3)]
    if uids == "replace":
        audit = (config.folder / "audit.jsonl").read_bytes()
        for name, content in {**texts, **stored, "audit": audit, "log": visible.encode()}.items():
            assert not [each for each in originals if each in content], name
        assert Deidentifier(KEY).uid(uid(1)).encode() in audit  # found by whoever has the key, and by the results
    for content in stored.values():
        header = pydicom.dcmread(BytesIO(content), stop_before_pixels=True)
        assert header.StudyInstanceUID == (uid(1, 3) if uids == "keep" else Deidentifier(KEY).uid(uid(1, 3)))
        assert header.PatientID.startswith("ANON")


def test_the_search_finds_what_is_planted(markers, tmp_path):
    for path in (tmp_path / "images").iterdir():
        found = markers.found_in(path.read_bytes())
        assert {"PatientName", "PatientBirthDate", "private UN", "preamble", "ViewCodeSequence.CodeMeaning"} <= set(
            found
        )
        assert len(found) > 200
