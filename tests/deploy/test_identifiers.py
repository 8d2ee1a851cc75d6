"""UIDs of results: valid, repeatable, and different where the results differ."""

from dataclasses import replace

import pydicom

from mtmedformer_monai.deploy.identifiers import result_uid


def test_uids_are_valid_and_repeatable(provenance):
    uid = result_uid("1.2.3", provenance, "seg instance")
    assert pydicom.uid.UID(uid).is_valid
    assert len(uid) <= 64
    assert uid == result_uid("1.2.3", provenance, "seg instance")


def test_uids_differ_by_source_model_and_kind(provenance):
    others = [replace(provenance, weights_sha256="c" * 64), replace(provenance, bundle_sha256="c" * 64)]
    uids = {result_uid("1.2.3", each, "seg instance") for each in (provenance, *others)}
    uids |= {result_uid("1.2.4", provenance, "seg instance"), result_uid("1.2.3", provenance, "seg series")}
    assert len(uids) == 5
