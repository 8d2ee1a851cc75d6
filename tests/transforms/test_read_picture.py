import numpy as np
import pytest
from PIL import Image

from mtmedformer_monai.transforms import errors
from mtmedformer_monai.transforms.read_picture import read_picture

GRAY = np.array([[0, 51, 255], [102, 204, 153]], dtype=np.uint8)


@pytest.mark.parametrize(
    ("array", "scale"),
    [
        pytest.param(GRAY, 255, id="8 bits"),
        pytest.param(GRAY.astype(np.uint16) * 257, 65535, id="16 bits"),
        pytest.param(np.repeat(GRAY[..., None], 3, axis=2), 255, id="gray RGB"),
    ],
)
def test_png(tmp_path, array, scale):
    Image.fromarray(array).save(tmp_path / "a.png")
    image, meta = read_picture(tmp_path / "a.png")
    expected = array.reshape(2, 3, -1)[..., 0] / scale
    np.testing.assert_allclose(image, expected, atol=1e-6)
    assert image.dtype == np.float32
    assert meta["source_shape"].tolist() == [2, 3]
    assert np.isnan(meta["spacing_mm"]).all()
    assert meta["modality"] == ""


def test_one_bit(tmp_path):
    Image.fromarray(GRAY > 100).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png")[0], (GRAY > 100).astype(np.float32))


def test_color_becomes_luminance(tmp_path):
    Image.fromarray(np.full((2, 2, 3), (255, 0, 0), dtype=np.uint8)).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_picture(tmp_path / "a.png")[0], 0.299, atol=0.5 / 255)  # rounded to 8 bits


def test_palette(tmp_path):
    picture = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode="P")
    picture.putpalette([255, 255, 255, 51, 51, 51])
    picture.save(tmp_path / "a.png")
    np.testing.assert_allclose(read_picture(tmp_path / "a.png")[0], [[1.0, 0.2]], atol=1e-6)


def test_transparency_is_black(tmp_path):
    rgba = np.array([[[255, 255, 255, 0], [255, 255, 255, 255], [255, 255, 255, 51]]], dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_picture(tmp_path / "a.png")[0], [[0.0, 1.0, 0.2]], atol=1 / 255)


def test_jpeg_is_turned_upright(tmp_path):
    array = np.zeros((16, 32), dtype=np.uint8)
    array[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # display rotated by 90 degrees clockwise: the left side becomes the top
    Image.fromarray(array).save(tmp_path / "a.jpg", exif=exif, quality=95)
    image, meta = read_picture(tmp_path / "a.jpg")
    assert image.shape == (32, 16)
    assert meta["source_shape"].tolist() == [32, 16]
    assert image[:12].min() > 0.9
    assert image[20:].max() < 0.1


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_truncated(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-1000])
    with pytest.raises(errors.BrokenPixelDataError, match=f"{name}: its image data cannot be decoded"):
        read_picture(tmp_path / name)


def test_header_alone(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    with pytest.raises(errors.UnreadableFileError, match="header does not parse"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("side", [12000, 50000])
def test_implausible_size_is_refused_before_decoding(tmp_path, side):
    Image.fromarray(GRAY).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[16:24] = side.to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(bytes(data))
    with pytest.raises(errors.BrokenPixelDataError, match="more than any"):
        read_picture(tmp_path / "a.png")


def test_color_jpeg_gives_its_stored_luminance(tmp_path):
    Image.new("RGB", (16, 16), (200, 10, 60)).save(tmp_path / "a.jpg", quality=95)
    np.testing.assert_allclose(
        read_picture(tmp_path / "a.jpg")[0], (0.299 * 200 + 0.587 * 10 + 0.114 * 60) / 255, atol=0.01
    )


def test_too_many_scans(tmp_path):
    Image.fromarray(GRAY).save(tmp_path / "a.jpg", progressive=True)
    data = (tmp_path / "a.jpg").read_bytes()
    scan = data[data.index(b"\xff\xda") : -2]
    (tmp_path / "a.jpg").write_bytes(data[:-2] + scan * 300 + data[-2:])
    with pytest.raises(errors.BrokenPixelDataError, match="more than 256 scans"):
        read_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", ["12 bits", "lossless", "JPEG-LS"])
def test_unsupported_kinds_of_jpeg_are_named(tmp_path, kind):
    imagecodecs = pytest.importorskip("imagecodecs", reason="writes the streams")
    values = GRAY.astype(np.uint16) * 16
    encode = {
        "12 bits": lambda: imagecodecs.jpeg8_encode(values, bitspersample=12),
        "lossless": lambda: imagecodecs.ljpeg_encode(values),
        "JPEG-LS": lambda: imagecodecs.jpegls_encode(values),
    }
    (tmp_path / "a.jpg").write_bytes(encode[kind]())
    with pytest.raises(errors.UnsupportedImageError, match=r"it is a JPEG of 1[26] bits or a lossless JPEG"):
        read_picture(tmp_path / "a.jpg")


def test_animation_is_refused(tmp_path):
    frames = [Image.fromarray(GRAY), Image.fromarray(255 - GRAY)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(errors.MultiFrameError, match="it has 2 frames"):
        read_picture(tmp_path / "a.png")
