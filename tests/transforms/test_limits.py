import pytest

from mtmedformer_monai.transforms import limits
from mtmedformer_monai.transforms.errors import BrokenPixelDataError


def test_pixels():
    limits.check_pixels("a.dcm", 8192, 16384)
    with pytest.raises(BrokenPixelDataError, match="8193 rows x 16384 columns, more than the 134,217,728 pixels"):
        limits.check_pixels("a.dcm", 8193, 16384)


def test_bytes_of_a_file(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"hello")
    assert limits.read_bytes(tmp_path / "a.png") == b"hello"
    monkeypatch.setattr(limits, "MAX_FILE_BYTES", 4)
    with pytest.raises(BrokenPixelDataError, match="it has 5 bytes, more than the 4"):
        limits.read_bytes(tmp_path / "a.png")
