"""Generates valid files of every supported type, and damages them."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom import uid

from tests.transforms import test_reading_matrix_streams as streams
from tests.transforms.reading_matrix import covering_cases, make_samples, write_case

Damage = Callable[[bytes, dict[str, bytes], np.random.Generator], bytes]

SYNTAXES = [b"1.2.840.10008.1.2.4." + number for number in (b"50", b"51", b"57", b"70", b"80", b"81", b"90", b"91")] + [
    b"1.2.840.10008.1.2.1",
    b"1.2.840.10008.1.2.2",
    b"1.2.840.10008.1.2.5",
]
ITEM, DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
EXTREMES = [0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF]
ABSURD = {
    "Rows": [0, 1, 65535],
    "Columns": [0, 1, 65535],
    "NumberOfFrames": ["0", "2", "2147483647", "-1"],
    "SamplesPerPixel": [0, 2, 3, 65535],
    "BitsAllocated": [0, 1, 8, 12, 16, 32, 64, 65535],
    "BitsStored": [0, 1, 7, 16, 17, 65535],
    "HighBit": [0, 15, 65535],
    "PixelRepresentation": [0, 1, 7],
    "PlanarConfiguration": [0, 1, 9],
    "PhotometricInterpretation": ["", "MONOCHROME1", "RGB", "YBR_FULL_422", "PALETTE COLOR", "HSV"],
    "RescaleSlope": ["0", "-1", "1e308", "-1e308", "1e-308"],
    "RescaleIntercept": ["1e308", "-1e308"],
    "WindowWidth": ["-5", "0", "1e-30", "1e308", ["1", "-1"]],
    "WindowCenter": ["1e308", "-1e308", "0"],
    "VOILUTFunction": ["SIGMOID", "LINEAR_EXACT", "??"],
    "PixelPaddingValue": [0, 65535],
    "PixelPaddingRangeLimit": [0, 65535],
    "PresentationIntentType": ["FOR PROCESSING"],
    "PixelIntensityRelationshipSign": [1],
    "Modality": ["MG", "CR"],
    "ImagerPixelSpacing": [["0", "0"], ["1e-300", "1"], "1"],
}


def make_seeds(folder: Path) -> dict[str, bytes]:
    """Writes valid files to an empty folder, and returns their bytes by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make_dicom_seeds(folder)
        make_picture_seeds(folder)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def make_dicom_seeds(folder: Path) -> None:
    """Writes the files of the test matrix, the prerecorded streams, and mammograms FOR PROCESSING."""
    for index, case in enumerate(covering_cases()):
        write_case(folder / f"case{index}.dcm", case, make_samples(case))
        if index < 20:
            data = pydicom.dcmread(folder / f"case{index}.dcm")
            data.Modality, data.PresentationIntentType, data.PixelIntensityRelationshipSign = "MG", "FOR PROCESSING", 1
            data.save_as(folder / f"raw{index}.dcm")
    others = {
        uid.JPEGExtended12Bit: streams.JPEG_12,
        uid.JPEGLossless: streams.LOSSLESS_OF_PREDICTOR_5,
        uid.HTJ2K: streams.HTJ2K,
    }
    for index, (syntax, text) in enumerate(others.items()):
        streams.write_stream(folder / f"stream{index}.dcm", syntax, text)


def make_picture_seeds(folder: Path) -> None:
    """Writes PNG and JPEG files of several modes, NIfTI files of both versions, and .npy files."""
    import nibabel
    from PIL import Image

    random = np.random.default_rng(0)
    gray = random.integers(0, 256, (14, 18), dtype=np.uint8)
    color = random.integers(0, 256, (14, 18, 4), dtype=np.uint8)
    pictures = [Image.fromarray(gray), Image.fromarray(color[..., :3]), Image.fromarray(color)]
    pictures += [Image.fromarray(gray.astype(np.uint16) * 257), Image.fromarray(gray > 99), pictures[1].quantize(16)]
    for index, picture in enumerate(pictures):
        picture.save(folder / f"picture{index}.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures[0].save(folder / "gray.jpg", exif=exif)
    pictures[1].save(folder / "color.jpg", progressive=True)
    pictures[1].convert("CMYK").save(folder / "cmyk.jpg")
    for name, kind in {"one": nibabel.Nifti1Image, "two": nibabel.Nifti2Image}.items():
        kind(gray.astype(np.int16), np.eye(4)).to_filename(folder / f"{name}.nii")
        kind(gray.astype(np.float32)[..., None], np.eye(4)).to_filename(folder / f"{name}.nii.gz")
    np.save(folder / "mask.npy", gray > 99)


def mutate(name: str, seeds: dict[str, bytes], random: np.random.Generator) -> bytes:
    """Applies one to four random kinds of damage."""
    data = seeds[name]
    if name.endswith(".dcm") and random.random() < 0.3:
        data = set_absurd(data, random)
    for _ in range(int(random.integers(0, 4)) + (data is seeds[name])):
        damage = DAMAGES[int(random.integers(len(DAMAGES)))]
        data = damage(data, seeds, random) if data else data
    return data


def flip_bytes(data: bytes, _: dict[str, bytes], random: np.random.Generator) -> bytes:
    damaged = bytearray(data)
    for _ in range(int(random.integers(1, 12))):
        damaged[place(data, random)] = int(random.integers(256))
    return bytes(damaged)


def set_extremes(data: bytes, _: dict[str, bytes], random: np.random.Generator) -> bytes:
    start, count = place(data, random), int(random.choice([1, 2, 4, 8]))
    return data[:start] + bytes([int(random.choice(EXTREMES))]) * count + data[start + count :]


def cut_off(data: bytes, _: dict[str, bytes], random: np.random.Generator) -> bytes:
    return data[: place(data, random)]


def cut_out(data: bytes, _: dict[str, bytes], random: np.random.Generator) -> bytes:
    start = place(data, random)
    return data[:start] + data[start + int(random.integers(1, 64)) :]


def double(data: bytes, _: dict[str, bytes], random: np.random.Generator) -> bytes:
    start, count = place(data, random), int(random.integers(1, 200))
    return data[: start + count] + data[start:]


def join(data: bytes, seeds: dict[str, bytes], random: np.random.Generator) -> bytes:
    other = seeds[str(random.choice(list(seeds)))]
    return data[: place(data, random)] + other[place(other, random) :]


def relabel(data: bytes, _: dict[str, bytes], random: np.random.Generator) -> bytes:
    """Replaces the transfer syntax UID by another one of equal length, so that offsets are unchanged."""
    found = next((name for name in SYNTAXES if name + b"\0" in data[:700] or name + b"\x02" in data[:700]), b"")
    others = [name for name in SYNTAXES if len(name) == len(found)]
    return data.replace(found, bytes(random.choice(others)), 1) if found else data


def fake_surplus(data: bytes, _: dict[str, bytes], random: np.random.Generator) -> bytes:
    """Appends padding, another frame or items to the pixel data, or prepends an item; the length may be undefined."""
    start = data.rfind(b"\xe0\x7f\x10\x00O")
    if start < 0 or len(data) < start + 12:
        return data
    value = data[start + 12 :]
    surplus = [bytes(int(random.integers(1, 600))), value, b"\xff" * 9, ITEM + bytes(4), DELIMITER + bytes(4)]
    value = value + surplus[int(random.integers(5))] if random.random() < 0.7 else ITEM + bytes(4) + value
    length = 0xFFFFFFFF if random.random() < 0.5 else len(value)
    return data[: start + 8] + struct.pack("<L", length) + value


DAMAGES: list[Damage] = [
    flip_bytes,
    flip_bytes,
    set_extremes,
    set_extremes,
    cut_off,
    cut_out,
    double,
    join,
    relabel,
    fake_surplus,
]


def place(data: bytes, random: np.random.Generator) -> int:
    """Draws an offset; half of them are shortly after the preamble, in the meta group, or near the end of the file."""
    kind = random.random()
    if kind < 0.25 and len(data) > 700:
        return int(random.integers(128, 700))
    if kind < 0.5:
        return int(random.integers(max(0, len(data) - 400), len(data)))
    return int(random.integers(len(data)))


def set_absurd(data: bytes, random: np.random.Generator) -> bytes:
    """Sets one to three DICOM elements to absurd values."""
    header = pydicom.dcmread(io.BytesIO(data))
    for keyword in random.choice(list(ABSURD), int(random.integers(1, 4)), replace=False):
        values = ABSURD[str(keyword)]
        setattr(header, str(keyword), values[int(random.integers(len(values)))])
    for sequence in ("VOILUTSequence", "ModalityLUTSequence"):
        if sequence in header and random.random() < 0.5:
            descriptor = [
                int(random.choice([0, 1, 4000, 65535])),
                int(random.integers(0, 65536)),
                int(random.integers(0, 40)),
            ]
            header[sequence].value[0].add_new("LUTDescriptor", "US", descriptor)
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header.save_as(buffer)
    except Exception:  # pydicom cannot write the values
        return data
    return buffer.getvalue()
