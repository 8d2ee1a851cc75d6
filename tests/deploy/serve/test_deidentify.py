"""De-identification in the worker: repeatable, and results belong to the copy."""

import os
from io import BytesIO

import pydicom
import pytest

from mtmedformer_monai.deploy.headers.uids import derived_uid
from mtmedformer_monai.deploy.privacy.deidentify import Deidentifier
from mtmedformer_monai.deploy.serve.bundle_model import make_deidentify
from mtmedformer_monai.deploy.serve.case import Source, new_case
from mtmedformer_monai.deploy.serve.config import DeidentifyConfig, LimitsConfig
from mtmedformer_monai.deploy.serve.errors import ImageRefusedError
from mtmedformer_monai.deploy.serve.scp import _read_uids
from mtmedformer_monai.deploy.serve.service import Model, open_service
from mtmedformer_monai.deploy.serve.spool import Spool
from tests.deploy.serve.chest_images import NAME, PATIENT, uid, write_chest
from tests.deploy.serve.conftest import config_for, turn_until
from tests.deploy.serve.fake_model import MODEL, FakeModel

KEY = b"0123456789abcdef"


@pytest.fixture
def key_file(tmp_path):
    (tmp_path / "key").write_bytes(KEY)
    return tmp_path / "key"


@pytest.mark.parametrize("uids", ["keep", "replace"])
def test_a_repeated_step_gives_the_same_file(tmp_path, key_file, uids):
    path = write_chest(tmp_path / "case" / "source", 1)
    deidentify = make_deidentify(DeidentifyConfig(True, key_file, uids))
    deidentify(path)
    first = path.read_bytes()
    deidentify(path)
    assert path.read_bytes() == first
    assert NAME.encode() not in first
    assert PATIENT.encode() not in first
    expected = uid(1) if uids == "keep" else Deidentifier(KEY).uid(uid(1))
    assert pydicom.dcmread(path).SOPInstanceUID == expected
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("interrupted", [False, True], ids=["after the copy", "before the copy"])
def test_an_image_that_is_sent_again_replaces_the_original(tmp_path, key_file, interrupted):
    """As after a failure, when the sender has corrected the patient."""
    spool = Spool(tmp_path / "spool", LimitsConfig())
    case = new_case(Source(uid(1), uid(1, 2), uid(1, 3)), MODEL, "received")
    deidentify = make_deidentify(DeidentifyConfig(True, key_file))
    spool.keep(write_chest(tmp_path / "first", 1, PatientID="WRONG"), case)
    if interrupted:
        os.link(spool.source(case), spool.folder(case) / "original.dcm")
    else:
        deidentify(spool.source(case))
    spool.keep(write_chest(tmp_path / "second", 1, PatientID="RIGHT"), case)
    deidentify(spool.source(case))
    assert pydicom.dcmread(spool.source(case)).PatientID == Deidentifier(KEY).patient("RIGHT")


@pytest.mark.parametrize(
    ("before", "after"),
    [("off", "key"), ("key", "off"), ("key", "other"), ("key", "key")],
    ids=["enabled", "disabled", "another key", "unchanged"],
)
def test_results_that_wait_while_the_settings_change_are_made_again(web_archive, tmp_path, key_file, before, after):
    (tmp_path / "other").write_bytes(KEY[::-1])

    def open_with(key, infer):
        settings = DeidentifyConfig() if key == "off" else DeidentifyConfig(True, tmp_path / key)
        config = config_for(web_archive, tmp_path / "worker", deidentify=settings)
        return open_service(config, Model(infer, MODEL, make_deidentify(settings)))

    web_archive.add(write_chest(tmp_path / "images", 1).read_bytes())
    web_archive.fail = lambda method, path: 503 if method == "POST" else None
    with open_with(before, FakeModel()) as service:
        turn_until(service, lambda: service.state.counts()["inferred"] == 1)
    web_archive.fail = lambda method, path: None
    with open_with(after, infer := FakeModel()) as service:
        turn_until(service, lambda: service.state.counts()["stored"] == 1)
    assert infer.images == ([] if before == after else [uid(1)])
    key = {"off": None, "key": KEY, "other": KEY[::-1]}[after]
    expected = Deidentifier(key).patient(PATIENT) if key else PATIENT
    stored = pydicom.dcmread(BytesIO(web_archive.objects[derived_uid(uid(1), "picture", MODEL)]))
    assert stored.PatientID == expected
    assert KEY not in (tmp_path / "worker" / "state.sqlite").read_bytes()


def test_burned_in_text_is_refused(tmp_path, key_file):
    path = write_chest(tmp_path / "case" / "source", 1, BurnedInAnnotation="YES")
    with pytest.raises(ImageRefusedError) as refusal:
        make_deidentify(DeidentifyConfig(True, key_file))(path)
    assert refusal.value.rule == "burned_in"


def test_a_key_is_needed():
    with pytest.raises(ValueError, match="key_file"):
        DeidentifyConfig(enabled=True)
    assert make_deidentify(DeidentifyConfig()) is None


def test_uids_of_a_received_file_are_read_as_they_are(tmp_path):
    source = _read_uids(write_chest(tmp_path, 1))
    assert (source.uid, source.series_uid, source.study_uid) == (uid(1), uid(1, 2), uid(1, 3))
    (tmp_path / "x.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 99)
    assert _read_uids(tmp_path / "x.dcm") is None
