"""Writes the report of a run: one page, and the layers of each image in the study folders."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from mtmedformer_monai.deploy.output_paths import inside
from mtmedformer_monai.deploy.results import (
    ImageMaps,
    ImageResult,
    ImageSource,
    Provenance,
    RunResult,
    StudyResult,
)
from mtmedformer_monai.io.atomic_files import write_atomically

from .layers import COLORMAPS, ImageLayers, read_layers, write_layers
from .rasters import palette
from .safe_text import relative_url, visible
from .view_model import FindLayers, Page, arrange

if TYPE_CHECKING:
    from jinja2 import Environment

REPORT_FILE = "report.html"
LAYERS_KIND = "report_layers"
"""Kind of an image's manifest of layers in `ImageResult.files`."""

MEANINGS = {
    "explanation": "relative to the strongest place in this image",
    "uncertainty": "of the prediction of each pixel",
    "probability": "of each pixel",
}
RAMP_STOPS = 9


def write_html(run_result: RunResult, maps_by_image: Mapping[tuple[str, str], ImageMaps], folder: str | Path) -> Path:
    """Writes a report with pictures of all images in one call; see `write_layers_of` for bounded memory.

    Args:
        run_result: results of the run.
        maps_by_image: {(`StudyResult.folder`, `ImageResult.name`): arrays of the image}; images without an entry are
            reported without a picture. A mapping that loads on access keeps one image in memory.
        folder: output folder of the run.

    Returns:
        Path of the page.
    """
    root = Path(folder)
    manifests: dict[tuple[str, str], str] = {}
    for study in run_result.studies:
        for image in study.images:
            key = (study.folder, image.name)
            if key in maps_by_image:
                manifests[key] = write_layers(image, maps_by_image[key], inside(root, study.folder))

    def layers_of(study: StudyResult, image: ImageResult) -> ImageLayers | None:
        manifest = manifests.get((study.folder, image.name))
        return read_layers(root, study.folder, manifest) if manifest else None

    return _write(render(arrange(run_result, layers_of), embed_from=None), root)


def write_layers_of(image: ImageResult, source: ImageSource, provenance: Provenance, folder: Path) -> Mapping[str, str]:
    """Writes the layers of one image to its study's folder; an `ImageWriter`.

    Returns:
        {'report_layers': path of the manifest in the folder}, by which `write_page` finds the layers.
    """
    if source.maps is None:
        return {}
    return {LAYERS_KIND: write_layers(image, source.maps, folder)}


def write_page(run: RunResult, folder: Path, embed: bool = False) -> Mapping[str, str]:
    """Writes the page from layers that `write_layers_of` has written; a `RunWriter`.

    Args:
        run: results of the run, whose images list the manifests.
        folder: output folder of the run.
        embed: whether to embed the pictures in the page, so that the page alone can be passed on; it is then large.

    Returns:
        {'report': file name}.
    """
    layers_of: FindLayers = lambda study, image: (  # noqa: E731
        read_layers(folder, study.folder, image.files[LAYERS_KIND]) if LAYERS_KIND in image.files else None
    )
    path = _write(render(arrange(run, layers_of), folder if embed else None), folder)
    return {"report": path.name}


def render(page: Page, embed_from: Path | None) -> str:
    """Returns the HTML of a page.

    Styles and script are inline, and the content security policy admits these by their hashes and nothing else: no
    other script, no attribute with styles or handlers, no connection.

    Args:
        page: what to show.
        embed_from: output folder whose pictures are embedded as data URLs; None to link them.
    """
    environment = _environment()
    images = [image for study in page.studies for image in study.images]
    style = environment.get_template("report.css.jinja").render(
        num_masks=max((len(image.masks) for image in images), default=0),
        num_heats=max((len(image.heats) for image in images), default=0),
        ramps={kind: _ramp(colormap) for kind, colormap in COLORMAPS.items()},
    )
    script = resources.files(__package__).joinpath("report.js").read_text(encoding="utf-8")
    return environment.get_template("report.html.jinja").render(
        page=page,
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        link=relative_url,
        source=relative_url if embed_from is None else _Embedded(embed_from),
        meanings=MEANINGS,
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    """The templates, which are compiled once per process."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mtmedformer_monai.deploy", "report"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["visible"] = visible
    return environment


class _Embedded:
    """Returns data URLs of pictures."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, folder: str, file: str) -> str:
        kind = "jpeg" if file.endswith(".jpg") else "png"
        content = base64.b64encode((self.root / folder / file).read_bytes()).decode("ascii")
        return f"data:image/{kind};base64,{content}"


def _write(html: str, root: Path) -> Path:
    path = root / REPORT_FILE
    write_atomically(path, lambda file: file.write(html.encode("utf-8")))
    return path


def _ramp(colormap: str) -> list[str]:
    colors = palette(colormap)
    chosen = [round(index * 255 / (RAMP_STOPS - 1)) for index in range(RAMP_STOPS)]
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colors[chosen].tolist()]


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
