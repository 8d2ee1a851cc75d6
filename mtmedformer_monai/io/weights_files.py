"""Files that belong to a file of weights and lie beside it: calibration, guard and posterior."""

from __future__ import annotations

from pathlib import Path

from .file_sha256 import file_sha256

CALIBRATION = "calibration.json"
GUARD = "guard.pt"
POSTERIOR = "posterior.pt"


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


def check_companion(path: Path, weights: str | Path, sha256: str, option: str) -> None:
    """Checks that a companion belongs to the weights beside it.

    Args:
        path: file of the companion.
        weights: file of the weights.
        sha256: SHA-256 of the weights that the companion states.
        option: option that disables the companion, for the error.

    Raises:
        ValueError: it belongs to other weights.
    """
    if sha256 != file_sha256(weights):
        raise ValueError(
            f"{path} belongs to other weights than {Path(weights).name}: its sha256 differs. Run mtmedformer calibrate "
            f"--ckpt {weights} for these weights, delete the file, or disable it with {option} off."
        )


def find_companion(weights: str | Path, name: str) -> Path:
    """Returns the path of a companion that must exist.

    Raises:
        FileNotFoundError: there is none.
    """
    path = companion(weights, name)
    if not path.is_file():
        kind = Path(name).stem
        raise FileNotFoundError(f"no {kind} at {path}; create it with mtmedformer calibrate --ckpt {weights}.")
    return path


def set_aside(weights: str | Path, previous: str | Path) -> list[Path]:
    """Renames the companions of weights that are about to be replaced, so that they belong to the kept copy.

    Companions of an older copy, which it replaces, are deleted.

    Args:
        weights: file of weights that will be replaced.
        previous: file in which the old weights are kept.

    Returns:
        The new paths of the companions that existed.
    """
    moved = []
    for name in (CALIBRATION, GUARD, POSTERIOR):
        path, kept = companion(weights, name), companion(previous, name)
        kept.unlink(missing_ok=True)
        if path.exists():
            moved.append(path.replace(kept))
    return moved
