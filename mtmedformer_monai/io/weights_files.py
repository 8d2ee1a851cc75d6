"""Files that belong to a file of weights and lie beside it: calibration and guard."""

from __future__ import annotations

from pathlib import Path

CALIBRATION = "calibration.json"
GUARD = "guard.pt"


def companion(weights: str | Path, name: str) -> Path:
    """Returns the path of a file that belongs to the weights.

    Example:
        >>> companion("models/model.pt", GUARD).as_posix(), companion("models/model_previous.pt", GUARD).name
        ('models/guard.pt', 'guard_previous.pt')
        >>> companion("models/site_a.pt", GUARD).name
        'site_a_guard.pt'
    """
    path, wanted = Path(weights), Path(name)
    if path.stem == "model" or path.stem.startswith("model_"):
        return path.with_name(f"{wanted.stem}{path.stem.removeprefix('model')}{wanted.suffix}")
    return path.with_name(f"{path.stem}_{name}")


def set_aside(weights: str | Path, previous: str | Path) -> list[Path]:
    """Renames the companions of weights that are about to be replaced, so that they belong to the kept copy.

    Args:
        weights: file of weights that will be replaced.
        previous: file in which the old weights are kept.

    Returns:
        The new paths of the companions that existed.
    """
    moved = []
    for name in (CALIBRATION, GUARD):
        path = companion(weights, name)
        if path.exists():
            moved.append(path.replace(companion(previous, name)))
    return moved
