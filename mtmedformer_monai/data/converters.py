"""The public sets that we make datalists of, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from .datalist import Datalist, save_datalist
from .rebase import datalist_path, rebase_datalist


@dataclass(frozen=True)
class Converter:
    """A public set.

    Attributes:
        module: file of this package whose `convert(folder)` returns a datalist with paths relative to the folder.
        tasks: of the chest bundle that the set carries.
        licence: of the set.
        description: one line.
        draws_masks: `convert` takes a second argument: a folder for masks that it draws.
    """

    module: str
    tasks: tuple[str, ...]
    licence: str
    description: str
    draws_masks: bool = False

    def load(self) -> Callable[..., Datalist]:
        """Imports the function."""
        convert: Callable[..., Datalist] = import_module(f".{self.module}", __package__).convert
        return convert


CONVERTERS = {
    "kermany": Converter(
        "kermany",
        ("finding", "pneumonia_type"),
        "CC BY 4.0",
        "5,856 chest X-rays of children: normal or pneumonia, bacterial or viral",
    ),
    "nih_chestxray14": Converter(
        "nih_chestxray14",
        ("finding", "opacity_box"),
        "free use, name the NIH Clinical Center",
        "112,120 chest X-rays of adults: pneumonia or no finding, boxes on some pneumonias",
    ),
    "v7_lungs": Converter(
        "v7_lungs",
        ("lung", "finding"),
        "CC BY 4.0 (masks); images by source",
        "6,500 chest X-rays of many hospitals with lung masks",
        draws_masks=True,
    ),
}


def convert_dataset(name: str, folder: str | Path, output: str | Path) -> Path:
    """Writes the datalist of a public set that was downloaded to a folder.

    Args:
        name: one of `CONVERTERS`.
        folder: of the set, as its file's docstring describes it.
        output: path of the datalist, or a folder for `datalist.json`. Images below its folder are written relative
            to it, others absolute; masks that have to be drawn go to `masks_<name>` beside it.

    Returns:
        The path written.

    Raises:
        ValueError: no such set, or another layout.
        FileNotFoundError: no such folder, or the set's files are not in it.
    """
    if name not in CONVERTERS:
        raise ValueError(f"name expects one of {list(CONVERTERS)}, got {name!r}.")
    folder, path = Path(folder), datalist_path(output)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder at {folder}; download the set and unpack it there.")
    converter = CONVERTERS[name]
    extra = (path.parent / f"masks_{name}",) if converter.draws_masks else ()
    return save_datalist(rebase_datalist(converter.load()(folder, *extra), folder, path.parent), path)
