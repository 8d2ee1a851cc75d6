"""Colors that are distinguishable with color vision deficiency (Okabe and Ito, 2008), and stateless figures."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mtmedformer_monai.io.atomic_files import write_atomically

COLORS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442")
INK = "#222222"
FAINT = "#B0B0B0"


def new_figure(width: float, height: float) -> Figure:
    """Returns a white figure of a size in inches on the Agg canvas, without using the global state of pyplot."""
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def color_of(index: int) -> str:
    """Returns the color of the structure, class or metric with an index."""
    return COLORS[index % len(COLORS)]


def save_figure(figure: Figure, path: str | Path) -> None:
    """Writes a figure as a PNG file, atomically."""
    write_atomically(path, lambda file: figure.savefig(file, format="png"))
