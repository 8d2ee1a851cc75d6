"""Tests that need FLARE are skipped without it."""

from __future__ import annotations

import pytest

nvflare = pytest.importorskip("nvflare", reason="NVIDIA FLARE is not installed: pip install 'mtmedformer-monai[flare]'")
