"""Results that are sent by C-STORE, to receivers that take only some transfer syntaxes or SOP classes."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pydicom
import pynetdicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless

from mtmedformer_monai.deploy.headers.uids import derived_uid
from mtmedformer_monai.deploy.segmentation.segment_pixels import encode_fractions, set_pixels
from mtmedformer_monai.deploy.serve.config import StoreConfig
from tests.deploy.serve.chest_images import uid, write_chest
from tests.deploy.serve.conftest import config_for, settle, with_limits, worker
from tests.deploy.serve.fake_model import MODEL, RESULT, FakeModel

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
PICTURE_UID, MAP_UID = (derived_uid(uid(1), kind, MODEL) for kind in ("picture", "map"))
FRACTIONS = np.linspace(0.0, 1.0, 24 * 24).reshape(24, 24)


def write_map(image, path):
    """Writes FRACTIONS, compressed by JPEG-LS."""
    result = Dataset()
    for keyword in ("PatientID", "StudyInstanceUID", "Rows", "Columns"):
        setattr(result, keyword, image[keyword].value)
    result.SOPClassUID, result.SOPInstanceUID = SEGMENTATION, MAP_UID
    result.SamplesPerPixel, result.PhotometricInterpretation, result.PixelRepresentation = 1, "MONOCHROME2", 0
    result.BitsAllocated, result.BitsStored, result.HighBit, result.NumberOfFrames = 8, 8, 7, 1
    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    result.SourceImageSequence = [source]
    result.file_meta = FileMetaDataset()
    set_pixels(result, encode_fractions([FRACTIONS]))
    result.save_as(path, enforce_file_format=True)
    return path


def infer(folder):
    """Writes a map, whose name comes first, and a picture."""
    image = pydicom.dcmread(folder / "source" / "image.dcm")
    return [write_map(image, folder / "results" / "map.dcm"), *FakeModel()(folder)]


@contextmanager
def receiver_of(syntaxes, received):
    """Takes {SOP class: transfer syntaxes}, and collects the objects; yields the configuration for its sender."""
    entity = pynetdicom.AE("ANY")
    for sop_class, accepted in syntaxes.items():
        entity.add_supported_context(sop_class, accepted)

    def take(event):
        data = event.dataset
        data.file_meta = event.file_meta
        received.append(data)
        return 0x0000

    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(pynetdicom.evt.EVT_C_STORE, take)])
    try:
        yield StoreConfig(by="cstore", port=server.server_address[1], called_ae="ANY")
    finally:
        server.shutdown()


@pytest.mark.parametrize(
    "syntaxes",
    [[ImplicitVRLittleEndian], [ExplicitVRLittleEndian], [JPEGLSLossless, ImplicitVRLittleEndian]],
    ids=["implicit", "explicit", "compressed"],
)
def test_results_are_converted_for_the_receiver(web_archive, tmp_path, syntaxes):
    web_archive.add(write_chest(tmp_path / "images", 1).read_bytes())
    received = []
    with (
        receiver_of({RESULT: syntaxes, SEGMENTATION: syntaxes}, received) as store,
        worker(config_for(web_archive, tmp_path / "worker", store=store), infer) as service,
    ):
        settle(service, 1)
        assert service.state.counts()["stored"] == 1
    fractions, picture = received
    assert (fractions.SOPInstanceUID, picture.SOPInstanceUID) == (MAP_UID, PICTURE_UID)
    assert fractions.file_meta.TransferSyntaxUID == syntaxes[0]
    assert picture.file_meta.TransferSyntaxUID == syntaxes[-1]
    np.testing.assert_array_equal(fractions.pixel_array, np.round(FRACTIONS * 255))


@pytest.mark.parametrize(
    ("syntaxes", "reason"),
    [({}, "does not take this SOP class"), ({SEGMENTATION: [JPEG2000Lossless]}, "takes neither its transfer syntax")],
    ids=["SOP class", "transfer syntax"],
)
def test_a_refused_result_is_named_and_holds_up_no_other(web_archive, tmp_path, syntaxes, reason):
    web_archive.add(write_chest(tmp_path / "images", 1).read_bytes())
    received = []
    with receiver_of({RESULT: [ImplicitVRLittleEndian], **syntaxes}, received) as store:
        config = with_limits(config_for(web_archive, tmp_path / "worker", store=store), max_attempts=3)
        with worker(config, infer) as service:
            settle(service, 1)
            assert service.state.counts()["failed"] == 1
    assert [data.SOPInstanceUID for data in received] == [PICTURE_UID]  # once, in three attempts
    assert f'"reason": "map.dcm: the receiver of results {reason}' in (config.folder / "audit.jsonl").read_text()
