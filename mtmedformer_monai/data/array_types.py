"""Array types of images, masks and synthetic anatomy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]
"""Floating-point values on a pixel grid (H, W)."""

Mask = NDArray[np.bool_]
"""bool (H, W); True inside the structure."""
