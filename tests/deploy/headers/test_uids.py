import hashlib
import itertools
from dataclasses import replace

import pytest

from mtmedformer_monai.deploy.headers.uids import derived_uid, model_sha256
from mtmedformer_monai.deploy.results import Provenance

MODEL = "ab" * 32


def test_the_uid_is_the_standard_hash_of_its_arguments():
    digest = hashlib.sha512(f"1.2.3|{MODEL}|SR".encode()).hexdigest()
    prefix = "1.2.826.0.1.3680043.8.498."
    assert derived_uid("1.2.3", "SR", MODEL) == prefix + str(int(digest, 16))[: 64 - len(prefix)]


def test_every_argument_changes_the_uid():
    cases = list(itertools.product(("1.2.3", "1.2.31"), ("SR", "1SR", "SR series"), (MODEL, "cd" * 32)))
    assert len({derived_uid(*case) for case in cases}) == len(cases)


def test_versions_and_runtime_are_part_of_the_model_and_the_device_is_not():
    known = Provenance("bundle", "1.0", "ab" * 32, "cd" * 32, {"torch": "2.13.0", "monai": "1.6.1"})
    others = [
        replace(known, versions={"torch": "2.13.1", "monai": "1.6.1"}),
        replace(known, versions={"torch": "2.13.0"}),
        replace(known, runtime="onnx"),
    ]
    assert len({model_sha256(each) for each in (known, *others)}) == 4
    same = replace(known, device="cuda:0", versions={"monai": "1.6.1", "torch": "2.13.0"})
    assert model_sha256(same) == model_sha256(known)


def test_the_case_of_the_hash_does_not_matter():
    assert derived_uid("1.2.3", "SR", MODEL.upper()) == derived_uid("1.2.3", "SR", MODEL)


@pytest.mark.parametrize(
    ("source", "kind", "model", "message"),
    [
        ("", "SR", MODEL, "UID of the source expects"),
        ("1..3", "SR", MODEL, "UID of the source expects"),
        ("1." + "2" * 63, "SR", MODEL, "UID of the source expects"),
        ("Doe^Jane", "SR", MODEL, "UID of the source expects"),
        ("1.2.3", "", MODEL, "kind expects"),
        ("1.2.3", "SR", "abc", "model_sha256 expects"),
        ("1.2.3", "SR", "z" * 64, "model_sha256 expects"),
    ],
)
def test_anything_else_is_rejected_without_repeating_it(source, kind, model, message):
    with pytest.raises(ValueError, match=message) as error:
        derived_uid(source, kind, model)
    assert "Doe" not in str(error.value)
