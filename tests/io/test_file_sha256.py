from mtmedformer_monai.io.file_sha256 import file_sha256


def test_digest_of_a_known_text_and_after_a_change(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(b"")
    assert file_sha256(path) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
