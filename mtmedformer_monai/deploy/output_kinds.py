"""Choices of `mtmedformer infer`: files beside `results.json` and `results.csv`, and runtimes of the network."""

from __future__ import annotations

from typing import Final

DEFAULT_OUTPUTS: Final = ("seg", "maps", "overlay", "sr", "report")
"""Segmentations of masks; fractional segmentations of heat maps, uncertainty and explanations; overlays; structured
reports; the HTML report with its pictures."""

OUTPUTS: Final = (*DEFAULT_OUTPUTS, "gsps", "cad_sr")
"""Also presentation states, and Mammography CAD SR."""

RUNTIMES: Final = {"torch": "torch", "onnx": "onnxruntime"}
"""{runtime of the network: module that it needs}."""
