import pytest

from mtmedformer_monai.io.file_hash import file_sha256


@pytest.mark.parametrize(
    ("content", "digest"),
    [
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),  # FIPS 180-2, B.1
        (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),  # B.3
    ],
    ids=["abc", "million a"],
)
def test_agrees_with_the_examples_of_the_standard(tmp_path, content, digest):
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == digest
