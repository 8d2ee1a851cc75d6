"""Registry of the supported public datasets, and their conversion to datalists."""

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
    """A public dataset.

    Attributes:
        tasks: tasks for which the dataset has labels; for tasks that no bundle defines, see docs/data.md.
        license: short description of the license.
        description: one-line description.
        writes: kinds of files that the conversion writes, 'masks' or 'images'. The function `convert(folder, ...)` of
            the module named after the dataset takes an output folder for each as a further argument.
    """

    tasks: tuple[str, ...]
    license: str
    description: str
    writes: tuple[str, ...] = ()


CONVERTERS = {
    "kermany": Converter(
        ("finding", "pneumonia_type"),
        "CC BY 4.0",
        "5,856 pediatric X-rays: normal or pneumonia, bacterial or viral",
    ),
    "nih_chestxray14": Converter(
        ("finding", "opacity_box"),
        "free use, attribution to the NIH Clinical Center",
        "112,120 X-rays of adults: pneumonia or no finding, boxes on some pneumonia images",
    ),
    "rsna_pneumonia": Converter(
        ("finding", "opacity_box"),
        "challenge rules, non-profit",
        "26,684 images of ChestX-ray14 with boxes around all opacities",
    ),
    "v7_lungs": Converter(
        ("lung", "finding"),
        "CC BY 4.0 (masks); images by source",
        "6,500 X-rays from many hospitals with lung masks",
        writes=("masks",),
    ),
    "covid_qu_ex": Converter(
        ("lung", "opacity", "finding"),
        "see its page; images by source",
        "33,920 X-rays with lung masks, infection masks on some, normal or pneumonia",
        writes=("masks",),
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
        "3,103 films with outlined masses and calcifications, verified pathology",
        writes=("masks",),
    ),
    "inbreast": Converter(
        ("lesion", "lesion_box", "breast_density", "birads"),
        "research, on request",
        "410 digital mammograms with contours drawn by specialists",
        writes=("masks",),
    ),
    "vindr_mammo": Converter(
        ("lesion_box", "breast_density", "birads"),
        "PhysioNet restricted",
        "20,000 digital mammograms, four views per study, boxes around suspicious lesions",
    ),
    "cdd_cesm": Converter(
        ("lesion", "lesion_box", "pathology", "breast_density"),
        "CC BY 4.0",
        "1,003 low-energy images of contrast-enhanced mammography, outlined lesions, verified pathology",
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
    """Returns the function `convert(folder, ...)` of a dataset, which creates a datalist with relative paths.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in CONVERTERS:
        raise ValueError(f"name expects one of {list(CONVERTERS)}, got {name!r}.")
    convert: Callable[..., Datalist] = import_module(f".{name}", __package__).convert
    return convert


def output_folders(name: str) -> tuple[str, ...]:
    """Returns the names of the folders that a conversion writes next to the datalist, such as `masks_montgomery`."""
    return tuple(f"{kind}_{name}" for kind in CONVERTERS[name].writes)


def convert_dataset(name: str, folder: str | Path, output: str | Path) -> Path:
    """Writes the datalist of a downloaded public dataset.

    Args:
        name: one of `CONVERTERS`.
        folder: dataset folder, with the layout described in the docstring of the dataset's module.
        output: path of the datalist, or a folder in which to write `datalist.json`. Paths of images in its folder are
            written relative to it, all others as absolute paths. Masks to be drawn are written to `masks_<name>` next
            to it, and converted images to `images_<name>`. Its entry `classes` lists the classes of each
            classification task.

    Returns:
        The path of the datalist written.

    Raises:
        ValueError: the name is unknown, or the folder has another layout.
        FileNotFoundError: the folder or the dataset's files do not exist.
    """
    convert = load_converter(name)
    folder, path = Path(folder), datalist_path(output)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder at {folder}; download the dataset and unpack it there.")
    written = (path.parent / output for output in output_folders(name))
    datalist = {"classes": classes_of(CONVERTERS[name].tasks)} | convert(folder, *written)
    return save_datalist(rebase_datalist(datalist, folder, path.parent), path)
