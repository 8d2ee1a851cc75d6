"""Images and options that the benchmarks of `mtmedformer infer` share."""

from __future__ import annotations

import argparse
from pathlib import Path

import pydicom
from bundle_runs import CHEST, MAMMOGRAPHY
from command_line import make_parser

KINDS = {"chest": CHEST, "mammography": MAMMOGRAPHY}


def make_source_parser(description: str | None) -> argparse.ArgumentParser:
    """Returns a parser with the option of `make_sources`."""
    parser = make_parser(description)
    parser.add_argument("--source", type=int, default=2048, help="longer side of the images (default %(default)s)")
    return parser


def make_sources(folder: Path, longest: int) -> dict[str, Path]:
    """Writes one DICOM image of each kind: an image of a cohort, enlarged to a longer side, with noise, 12 bits."""
    import numpy as np
    from PIL import Image

    from mtmedformer_monai.data.synthetic.cohorts import make_cohort

    made = {}
    for kind in KINDS:
        source = sorted(make_cohort(kind, folder / kind, 8, 256, 5).parent.rglob("*.dcm"))[0]
        dataset = pydicom.dcmread(source)
        pixels = dataset.pixel_array.astype(np.float32)
        scale = longest / max(pixels.shape)
        size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
        large = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
        large = large + np.random.default_rng(0).normal(0, 4, large.shape) * (large > 0)
        dataset.Rows, dataset.Columns = large.shape
        dataset.PixelData = np.clip(large, 0, 2**dataset.BitsStored - 1).astype("<u2").tobytes()
        for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
            if keyword in dataset:
                setattr(dataset, keyword, [f"{float(value) / scale:.6f}" for value in dataset[keyword].value])
        made[kind] = folder / f"{kind}.dcm"
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset["PixelData"].is_undefined_length = False
        dataset.save_as(made[kind])
    return made


def copy_studies(image: Path, folder: Path, count: int) -> Path:
    """Writes copies of an image as studies of their own."""
    folder.mkdir()
    dataset = pydicom.dcmread(image)
    for number in range(count):
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(dataset, keyword, pydicom.uid.generate_uid(entropy_srcs=[keyword, str(number)]))
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / f"{number}.dcm")
    return folder
