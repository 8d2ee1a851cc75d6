"""DICOM files of every kind that is read: cases that cover all pairs of what files differ in, and their encoders."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

from tests.conftest import lut_item, make_header, transcode

ROWS, COLUMNS = 14, 18
DEFLATED = uid.DeflatedExplicitVRLittleEndian
NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, DEFLATED)
LOSSLESS = (
    *NATIVE,
    uid.RLELossless,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
)
LOSSY = (uid.JPEGBaseline8Bit, uid.JPEGLSNearLossless, uid.JPEG2000)
GRAY, COLOR = ("MONOCHROME1", "MONOCHROME2"), ("RGB", "YBR_FULL", "YBR_FULL_422")
GRAYSCALE_TRANSFORMS = (
    "none",
    "rescale",
    "modality",
    "LINEAR",
    "LINEAR_EXACT",
    "SIGMOID",
    "voi8",
    "voi10",
    "voi12",
    "voi16",
    "both",
)


@dataclass(frozen=True)
class Case:
    """One file.

    Attributes:
        syntax: UID of the transfer syntax.
        photometric: Photometric Interpretation.
        allocated: bits.
        stored: bits.
        signed: two's complement.
        grayscale: one of `GRAYSCALE_TRANSFORMS`.
        padding: 'none', 'value' or 'range'.
        planar: a color a plane.
    """

    syntax: str
    photometric: str
    allocated: int
    stored: int
    signed: bool
    grayscale: str
    padding: str
    planar: bool

    def __str__(self) -> str:
        bits = f"{self.stored}of{self.allocated}{'signed' if self.signed else ''}"
        planar = "planar" if self.planar else "pixels"
        name = uid.UID(self.syntax).name.split(" (")[0].replace("Image Compression", "")
        return "-".join([name, self.photometric, bits, self.grayscale, self.padding, planar])


_BITS = tuple((*bits, False) for bits in ((8, 8), (16, 8), (16, 10), (16, 12), (16, 14), (16, 16))) + tuple(
    (*bits, True) for bits in ((8, 8), (16, 12), (16, 16))
)
_AXES: tuple[tuple[Any, ...], ...] = (
    (*LOSSLESS, *LOSSY),
    (*GRAY, *COLOR, "PALETTE COLOR"),
    _BITS,
    GRAYSCALE_TRANSFORMS,
    ("none", "value", "range"),
    (False, True),
)


def all_cases() -> list[Case]:
    """Every combination that a file may have."""
    combinations = itertools.product(*_AXES)
    cases = (
        Case(syntax, kind, *bits, grayscale, pad, planar) for syntax, kind, bits, grayscale, pad, planar in combinations
    )
    return [case for case in cases if _is_possible(case)]


def _is_possible(case: Case) -> bool:
    """What the standard admits and an encoder at hand writes."""
    allocated, stored = case.allocated, case.stored
    if case.photometric in GRAY:
        return not case.planar and _has_depth(case.syntax, allocated, stored, case.signed)
    if case.signed or case.grayscale != "none" or case.padding != "none":
        return False
    if case.photometric == "PALETTE COLOR":
        return not case.planar and stored in {8, 10} and case.syntax in (*NATIVE, uid.RLELossless, uid.JPEGLSLossless)
    if case.photometric == "YBR_FULL_422":
        return case.syntax in (*NATIVE, uid.JPEGBaseline8Bit) and (allocated, stored) == (8, 8) and not case.planar
    depths = {(8, 8), (16, 16)} if case.syntax in (*NATIVE, uid.RLELossless) else {(8, 8)}
    admitted = LOSSLESS if case.photometric == "RGB" else (*NATIVE, uid.RLELossless, uid.JPEGLSLossless)
    planar = not case.planar or case.syntax in NATIVE
    return case.syntax in admitted and (allocated, stored) in depths and planar


def _has_depth(syntax: str, allocated: int, stored: int, signed: bool) -> bool:
    """Depths of gray streams."""
    if syntax == uid.JPEGBaseline8Bit:
        return (allocated, stored, signed) == (8, 8, False)
    if syntax == uid.JPEG2000:  # Pillow's encoder
        return stored == allocated and not signed
    return True


def covering_cases(seed: int = 0) -> list[Case]:
    """Few cases that hold every possible pair of two axes' values (greedy, after Cohen et al., IEEE TSE 1997)."""
    random, cases = np.random.default_rng(seed), all_cases()
    pairs = [set(pairs_of(case)) for case in cases]
    open_pairs = set().union(*pairs)
    chosen: list[Case] = []
    while open_pairs:
        candidates = random.choice(len(cases), 200)
        best = max(candidates, key=lambda index: len(pairs[index] & open_pairs))
        if not pairs[best] & open_pairs:  # a rare pair: take its first case
            best = next(index for index, held in enumerate(pairs) if held & open_pairs)
        chosen.append(cases[best])
        open_pairs -= pairs[best]
    return chosen


def pairs_of(case: Case) -> Iterator[tuple[int, int, Any, Any]]:
    """Every two of a case's values, with the axes that they are of."""
    syntax, kind, *bits, grayscale, padding, planar = astuple(case)
    values = (syntax, kind, tuple(bits), grayscale, padding, planar)
    for first, second in itertools.combinations(range(len(values)), 2):
        yield first, second, values[first], values[second]


def make_samples(case: Case, seed: int = 0) -> NDArray[Any]:
    """Stored values, (H, W) or (H, W, 3): smooth with noise, over the whole range."""
    low, high = (-(2 ** (case.stored - 1)), 2 ** (case.stored - 1)) if case.signed else (0, 2**case.stored)
    if case.photometric == "PALETTE COLOR":
        high = 200
    y, x = np.mgrid[0.0 : 1.0 : ROWS * 1j, 0.0 : 1.0 : COLUMNS * 1j]
    random = np.random.default_rng(seed)
    shape = (ROWS, COLUMNS, 3) if case.photometric in COLOR else (ROWS, COLUMNS)
    wave = np.sin(3 * x + 2 * y) if len(shape) == 2 else np.sin(3 * x + 2 * y)[..., None] + np.array([0.0, 0.1, -0.1])
    unit = np.clip(0.5 + 0.45 * wave + random.normal(0, 0.02, shape), 0, 1)
    if case.photometric == "YBR_FULL_422":  # a pair of pixels has one color
        unit[:, 1::2, 1:] = unit[:, ::2, 1:]
    return (low + unit * (high - 1 - low)).round().astype(f"{'i' if case.signed else 'u'}{case.allocated // 8}")


def write_case(path: Path, case: Case, samples: NDArray[Any]) -> None:
    """Writes the file."""
    native = case.syntax in NATIVE
    stored = samples.byteswap() if case.syntax == uid.ExplicitVRBigEndian and samples.itemsize > 1 else samples
    data = make_header(stored, case.stored, case.photometric, "DX", **_elements(case))
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = case.syntax if native else uid.ExplicitVRLittleEndian
    if case.photometric in COLOR:
        data.Rows, data.Columns = ROWS, COLUMNS
        data.pop("NumberOfFrames", None)
        data.SamplesPerPixel, data.PlanarConfiguration = 3, int(case.planar)
        data.PixelData = _order(stored, case).tobytes()
        data["PixelData"].VR = "OB" if case.allocated == 8 else "OW"
    _add_grayscale(data, case)
    if case.syntax in (uid.JPEGLSNearLossless, uid.JPEG2000) or case.photometric == "YBR_FULL_422":
        _compress(data, case, samples)
    data.save_as(path, enforce_file_format=True)
    if not native and data.file_meta.TransferSyntaxUID == uid.ExplicitVRLittleEndian:
        transcode(path, case.syntax)


def _order(samples: NDArray[Any], case: Case) -> NDArray[Any]:
    """Samples as the file has them: by pixel, by plane, or by pairs."""
    if case.photometric == "YBR_FULL_422":
        pairs = samples.reshape(ROWS, COLUMNS // 2, 6)[..., [0, 3, 1, 2]]
        return np.ascontiguousarray(pairs)
    return np.ascontiguousarray(np.moveaxis(samples, -1, 0)) if case.planar else samples


def _compress(data: Dataset, case: Case, samples: NDArray[Any]) -> None:
    """By encoders of ours that GDCM lacks: near-lossless JPEG-LS, lossy JPEG 2000, JPEG of half the colors."""
    if case.syntax in NATIVE:
        return
    stream = io.BytesIO()
    if case.syntax == uid.JPEGLSNearLossless:
        import jpeg_ls

        codes = samples.astype("u2") & np.uint16(2**case.stored - 1)
        codes = codes.astype("u1") if case.stored <= 8 else codes
        stream.write(bytes(jpeg_ls.encode_array(codes, lossy_error=2)))
    elif case.syntax == uid.JPEG2000:
        picture = Image.fromarray(samples)
        picture.save(stream, "JPEG2000", irreversible=True, quality_mode="dB", quality_layers=[60], no_jp2=True)
    else:
        Image.fromarray(samples, mode="YCbCr").save(stream, "JPEG", quality=95, subsampling="4:2:2")
    data.PixelData, data.file_meta.TransferSyntaxUID = encapsulate([stream.getvalue()]), case.syntax
    data["PixelData"].VR = "OB"


def _elements(case: Case) -> dict[str, Any]:
    elements: dict[str, Any] = {"PresentationLUTShape": "INVERSE" if case.photometric == "MONOCHROME1" else "IDENTITY"}
    if case.padding != "none":
        elements["PixelPaddingValue"] = -5 if case.signed else 3
    if case.padding == "range":
        elements["PixelPaddingRangeLimit"] = 2 ** (case.stored - 3)
    return elements


def _add_grayscale(data: Dataset, case: Case) -> None:
    """Modality LUT, rescale, windows, VOI LUTs."""
    if case.grayscale in {"rescale", "both", "SIGMOID"}:
        data.RescaleSlope, data.RescaleIntercept = "2", "-24"
    if case.grayscale == "modality":
        data.ModalityLUTSequence = [_lut_item([7 * entry for entry in range(200)], 10, 16, case)]
    middle, width = (2, 2**case.stored / 3) if case.signed else (2 ** (case.stored - 1), 2**case.stored / 2)
    if case.grayscale.isupper():
        data.WindowCenter, data.WindowWidth = [f"{middle:.0f}", "9"], [f"{width:.0f}", "7"]
        data.VOILUTFunction = case.grayscale
    if case.grayscale.startswith("voi") or case.grayscale == "both":
        bits = int(case.grayscale[3:]) if case.grayscale.startswith("voi") else 12
        entries = np.linspace(0, 2**bits - 1, min(2**case.stored, 200 if bits == 8 else 4000)).round().astype(int)
        data.VOILUTSequence = [_lut_item(entries, 2, bits, case), _lut_item([0, 1], 0, 8, case)]
        if case.grayscale == "both":
            data.WindowCenter, data.WindowWidth = "1", "2"
    if case.photometric == "PALETTE COLOR":
        for color, exponent in (("Red", 1.0), ("Green", 2.0), ("Blue", 0.5)):
            entries = (65535 * np.linspace(0, 1, 256) ** exponent).round().astype("<u2")
            words = entries.astype(">u2") if case.syntax == uid.ExplicitVRBigEndian else entries
            data.add_new(f"{color}PaletteColorLookupTableDescriptor", "US", [256, 0, 16])
            data.add_new(f"{color}PaletteColorLookupTableData", "OW", words.tobytes())


def _lut_item(entries: Any, first: int, bits: int, case: Case) -> Dataset:
    """In the byte order of the file."""
    item = lut_item(entries, first, bits)
    if case.syntax == uid.ExplicitVRBigEndian:
        item.LUTData = np.frombuffer(item.LUTData, "<u2").astype(">u2").tobytes()
    return item


def read_stored(path: Path) -> tuple[pydicom.Dataset, Any, str]:
    """Header, values and Photometric Interpretation by our own decoders."""
    from mtmedformer_monai.transforms.dicom.pixels.decode import decode_pixels
    from mtmedformer_monai.transforms.dicom.read import read_header

    header = read_header(path)
    return header, *decode_pixels(path, header)
