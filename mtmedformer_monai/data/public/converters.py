"""The public sets that we make datalists of, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from mtmedformer_monai.data.datalist import Datalist, save_datalist
from mtmedformer_monai.data.rebase import datalist_path, rebase_datalist

from .task_classes import classes_of


@dataclass(frozen=True)
class Converter:
    """A public set.

    Attributes:
        tasks: that the set has labels for; those that no bundle has are tasks of their own, see docs/data.md.
        license: terms of use of the set, in short.
        description: one line.
        writes: kinds of files that have to be written, 'masks' or 'images'. The `convert(folder)` of the file named
            like the set takes a folder for each as a further argument.
    """

    tasks: tuple[str, ...]
    license: str
    description: str
    writes: tuple[str, ...] = ()


CONVERTERS = {
    "kermany": Converter(
        ("finding", "pneumonia_type"),
        "CC BY 4.0",
        "5,856 X-rays of children: normal or pneumonia, bacterial or viral",
    ),
    "nih_chestxray14": Converter(
        ("finding", "opacity_box"),
        "free use, name the NIH Clinical Center",
        "112,120 X-rays of adults: pneumonia or no finding, boxes on some pneumonias",
    ),
    "rsna_pneumonia": Converter(
        ("finding", "opacity_box"),
        "challenge rules, non-profit",
        "26,684 of ChestX-ray14's images: boxes around all opacities",
    ),
    "v7_lungs": Converter(
        ("lung", "finding"),
        "CC BY 4.0 (masks); images by source",
        "6,500 X-rays of many hospitals with lung masks",
        writes=("masks",),
    ),
    "covid_qu_ex": Converter(
        ("lung", "opacity", "finding"),
        "see its page; images by source",
        "33,920 X-rays: lung masks, infected regions on some, normal or pneumonia",
    ),
    "montgomery": Converter(
        ("lung", "finding", "tuberculosis"),
        "NLM: free, cite",
        "138 X-rays with lung masks, normal or tuberculosis",
        writes=("masks",),
    ),
    "shenzhen": Converter(
        ("lung", "finding", "tuberculosis"),
        "NLM: free, cite",
        "662 X-rays, normal or tuberculosis, lung masks on 566",
    ),
    "siim_acr": Converter(
        ("pneumothorax",),
        "challenge rules, non-profit",
        "12,047 X-rays with masks of pneumothoraces",
        writes=("masks",),
    ),
    "cbis_ddsm": Converter(
        ("lesion", "lesion_box", "pathology", "breast_density"),
        "CC BY 3.0",
        "3,103 films with outlined masses and calcifications, pathology proven",
        writes=("masks",),
    ),
    "inbreast": Converter(
        ("lesion", "lesion_box", "breast_density", "birads"),
        "research, on request",
        "410 digital mammograms with exact contours",
        writes=("masks",),
    ),
    "vindr_mammo": Converter(
        ("lesion_box", "breast_density", "birads"),
        "PhysioNet restricted",
        "20,000 digital mammograms, four views a study, boxes around suspicious lesions",
    ),
    "cdd_cesm": Converter(
        ("lesion", "lesion_box", "pathology", "breast_density"),
        "CC BY 4.0",
        "1,003 low-energy images of contrast mammography, outlined, pathology proven",
        writes=("masks",),
    ),
    "mini_mias": Converter(
        ("lesion", "lesion_box", "pathology", "mias_density"),
        "MIAS: research only",
        "322 films at low resolution with circles around abnormalities",
        writes=("masks", "images"),
    ),
}


def load_converter(name: str) -> Callable[..., Datalist]:
    """The function `convert(folder, ...)` of a set: its datalist, with paths relative to the folder.

    Raises:
        ValueError: no such set.
    """
    if name not in CONVERTERS:
        raise ValueError(f"name expects one of {list(CONVERTERS)}, got {name!r}.")
    convert: Callable[..., Datalist] = import_module(f".{name}", __package__).convert
    return convert


def convert_dataset(name: str, folder: str | Path, output: str | Path) -> Path:
    """Writes the datalist of a public set that was downloaded to a folder.

    Args:
        name: one of `CONVERTERS`.
        folder: of the set, as its file's docstring describes it.
        output: path of the datalist, or a folder for `datalist.json`. Images below its folder are written relative
            to it, others absolute; masks that have to be drawn go to `masks_<name>` beside it, images that have to be
            copied to `images_<name>`. Its `classes` name the classes of each classification task.

    Returns:
        The path written.

    Raises:
        ValueError: no such set, or another layout.
        FileNotFoundError: no such folder, or the set's files are not in it.
    """
    convert = load_converter(name)
    folder, path = Path(folder), datalist_path(output)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder at {folder}; download the set and unpack it there.")
    written = (path.parent / f"{kind}_{name}" for kind in CONVERTERS[name].writes)
    datalist = {"classes": classes_of(CONVERTERS[name].tasks)} | convert(folder, *written)
    return save_datalist(rebase_datalist(datalist, folder, path.parent), path)
