"""Figures of merit by task kind, accumulated over batches and processes.

Names are loaded on first use: scikit-learn and MONAI are heavy.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "SegmentationMetric": "segmentation",
    "SelectiveMetric": "selective",
    "ClassificationMetric": "classification",
    "DetectionMetric": "detection",
    "average_precision": "detection_curves",
    "froc_curve": "detection_curves",
    "froc_score": "detection_curves",
    "decode_boxes": "nms",
    "Boxes": "nms",
    "expected_calibration_error": "calibration",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Imports the module that holds `name` (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
