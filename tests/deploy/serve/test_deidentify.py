"""De-identification in the worker: repeatable, and results belong to the copy."""

import os

import pydicom
import pytest

from mtmedformer_monai.deploy.privacy.deidentify import Deidentifier
from mtmedformer_monai.deploy.serve.bundle_model import make_deidentify
from mtmedformer_monai.deploy.serve.case import Source, new_case
from mtmedformer_monai.deploy.serve.config import DeidentifyConfig, LimitsConfig
from mtmedformer_monai.deploy.serve.errors import ImageRefusedError
from mtmedformer_monai.deploy.serve.scp import _read_uids
from mtmedformer_monai.deploy.serve.spool import Spool
from tests.deploy.serve.chest_images import NAME, PATIENT, uid, write_chest

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
    case = new_case(Source(uid(1), uid(1, 2), uid(1, 3)), "ab" * 32, "received")
    deidentify = make_deidentify(DeidentifyConfig(True, key_file))
    spool.keep(write_chest(tmp_path / "first", 1, PatientID="WRONG"), case)
    if interrupted:
        os.link(spool.source(case), spool.folder(case) / "original.dcm")
    else:
        deidentify(spool.source(case))
    spool.keep(write_chest(tmp_path / "second", 1, PatientID="RIGHT"), case)
    deidentify(spool.source(case))
    assert pydicom.dcmread(spool.source(case)).PatientID == Deidentifier(KEY).patient("RIGHT")


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
