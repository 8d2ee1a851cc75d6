import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from mtmedformer_monai.data.image_size import read_image_size
from mtmedformer_monai.transforms import errors
from mtmedformer_monai.transforms.deep_png import is_deep_png, read_deep_png
from mtmedformer_monai.transforms.read_mask import read_mask
from mtmedformer_monai.transforms.read_picture import read_picture

RANDOM = np.random.default_rng(0)
GRAY, ALPHA = RANDOM.integers(0, 65536, (2, 20, 30))
COLOR = RANDOM.integers(0, 65536, (20, 30, 3))
LUMA = COLOR @ np.array([0.299, 0.587, 0.114]) / 65535


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def write_png(path, samples, kind, depth=16, more=b""):
    """Writes a PNG (third edition, sections 5 and 9) without filters."""
    rows = b"".join(b"\0" + row.tobytes() for row in samples.astype(">u2" if depth == 16 else np.uint8))
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], depth, kind, 0, 0, 0)
    body = chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize(
    ("kind", "samples", "expected"),
    [
        pytest.param(0, GRAY, GRAY / 65535, id="gray"),
        pytest.param(2, COLOR, LUMA, id="RGB"),
        pytest.param(4, np.dstack([GRAY, ALPHA]), GRAY / 65535 * (ALPHA / 65535), id="gray and alpha"),
        pytest.param(6, np.dstack([COLOR, ALPHA]), LUMA * (ALPHA / 65535), id="RGBA"),
    ],
)
def test_no_bit_is_lost(tmp_path, kind, samples, expected):
    path = write_png(tmp_path / "ä.png", samples, kind)
    assert is_deep_png(path) == (kind != 0)
    np.testing.assert_allclose(read_picture(path)[0], expected, atol=2e-7)  # float32
    assert read_image_size(path) == (20, 30)


def test_levels_of_a_gray_picture_in_color(tmp_path):
    levels = np.arange(4096).reshape(64, 64)
    image = read_picture(write_png(tmp_path / "a.png", np.dstack([levels] * 3), 2))[0]
    np.testing.assert_array_equal((image * 65535).round(), levels)


@pytest.mark.parametrize(("kind", "samples"), [(0, GRAY), (2, np.dstack([GRAY] * 3))])
def test_transparent_color_is_black(tmp_path, kind, samples):
    value = int(GRAY[3, 4])
    more = chunk(b"tRNS", struct.pack(">H", value) * (1 if kind == 0 else 3))
    expected = np.where(value == GRAY, 0, GRAY) / 65535
    path = write_png(tmp_path / "a.png", samples, kind, more=more)
    np.testing.assert_allclose(read_picture(path)[0], expected, atol=2e-7)
    np.testing.assert_array_equal(read_mask(path), expected > 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_agrees_with_pillow(tmp_path, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    shallow = Image.fromarray((GRAY >> 8).astype(np.uint8))
    shallow.save(tmp_path / "8.png", exif=exif)
    more = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    deep = write_png(tmp_path / "16.png", np.dstack([GRAY] * 3), 2, more=more)
    image = read_picture(deep)[0]
    np.testing.assert_allclose(image, read_picture(tmp_path / "8.png")[0], atol=1 / 255)
    assert image.shape == ((20, 30) if orientation < 5 else (30, 20))


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_masks_of_small_values(tmp_path, kind, channels):
    """All class numbers except 0 are inside, although their high bytes are all 0."""
    numbers = RANDOM.integers(0, 3, (20, 30))
    samples = np.dstack([numbers] * channels)
    if channels != 3:
        samples[..., -1] = 65535
    np.testing.assert_array_equal(read_mask(write_png(tmp_path / "m.png", samples, kind)), numbers > 0)
    if channels != 3:
        samples[..., -1] = numbers > 1
        np.testing.assert_array_equal(read_mask(write_png(tmp_path / "m.png", samples, kind)), numbers > 1)


@pytest.mark.parametrize(("depth", "levels"), [(1, 2), (2, 4), (4, 16)])
def test_low_bit_depths(tmp_path, depth, levels):
    values = np.arange(levels).repeat(16)[: 16 * levels].reshape(levels, 16) % levels
    bits = ((values[..., None] >> np.arange(depth)[::-1]) & 1).reshape(levels, -1)
    packed = np.packbits(bits, axis=1)
    header = struct.pack(">IIBBBBB", 16, levels, depth, 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    np.testing.assert_allclose(read_picture(tmp_path / "a.png")[0], values / (levels - 1), atol=1e-6)


@pytest.mark.parametrize("read", [read_picture, read_mask])
def test_truncated(tmp_path, read):
    path = write_png(tmp_path / "a.png", COLOR, 2)
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(errors.RadiographError, match="its image data cannot be decoded"):
        read(path)


def test_channels_by_hand(tmp_path):
    channels = read_deep_png(write_png(tmp_path / "a.png", np.array([[[1, 256, 65535]]]), 2))
    assert channels.dtype == np.float32
    assert channels.tolist() == [[[1, 256, 65535]]]
